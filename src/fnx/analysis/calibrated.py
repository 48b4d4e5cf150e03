"""Calibrated distances: D less what random labels alone give it, whatever the size of the class.

They are derived from the distances, the null second moment of each feature and the sizes of the
classes, where and when they are asked for; nothing of them is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fnx.statistics.calibration import less_noise

Distances = NDArray[np.float32]


@dataclass(frozen=True)
class Calibrated:
    """Calibrated distances as an array that is computed where it is indexed, as a memory map is.

    Attributes:
        raw: [F, C] or [R, F, C] distances.
        second_moment: (F,) null second moment of each feature, E₀[n_e D²].
        effective: (C,) n_e of each class.
        neutral: of the statistic.
    """

    raw: Distances
    second_moment: NDArray[np.float64]
    effective: NDArray[np.float64]
    neutral: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the distances."""
        return self.raw.shape

    @property
    def size(self) -> int:
        """Number of the distances."""
        return self.raw.size

    def __getitem__(self, key: Any) -> Distances:
        """Return the calibrated distances at an index of any kind that NumPy knows, float32."""
        moments = np.broadcast_to(self.second_moment[:, None], self.shape)[key]
        noise = moments / np.broadcast_to(self.effective, self.shape)[key]
        return less_noise(self.raw[key], noise, self.neutral).astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of them, in memory."""
        return self[...].astype(dtype or np.float32, copy=False)
