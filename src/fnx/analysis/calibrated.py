"""Calibrated distances: D less what random labels alone give it, whatever the size of the class.

They are derived from the distances, the null second moment of each feature and the sizes of the
classes, where and when they are asked for; nothing of them is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fnx.analysis.distributions import Distances


def effective_sizes(class_sizes: ArrayLike) -> NDArray[np.float64]:
    """Return n_e = n (N − n) / N of every class: what the noise of its distances depends on.

    >>> effective_sizes([10, 10, 20]).tolist()
    [7.5, 7.5, 10.0]
    """
    n = np.asarray(class_sizes, np.float64)
    effective: NDArray[np.float64] = n * (n.sum() - n) / n.sum()
    return effective


def calibrate(
    distances: Distances, noise: NDArray[np.floating[Any]], neutral: float = 0.0
) -> Distances:
    """Return neutral + sign(D − neutral) √max((D − neutral)² − noise, 0), float32.

    Args:
        distances: of any shape.
        noise: E₀[(D − neutral)²] of each, the null second moment of its feature over n_e of its
            class; of a shape that broadcasts with that of the distances.
        neutral: of the statistic.

    >>> calibrate(np.float32([0.5, -0.5, -0.2]), np.array(0.09)).tolist()
    [0.40..., -0.40..., 0.0]
    """
    size = np.asarray(distances, np.float64) - neutral
    with np.errstate(invalid="ignore"):  # of inf - inf
        excess = size * size - noise
    calibrated = np.copysign(np.sqrt(np.where(excess > 0, excess, 0)), size)
    return (neutral + calibrated).astype(np.float32)


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
        return calibrate(
            self.raw[key], moments / np.broadcast_to(self.effective, self.shape)[key], self.neutral
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of them, in memory."""
        return self[...].astype(dtype or np.float32, copy=False)
