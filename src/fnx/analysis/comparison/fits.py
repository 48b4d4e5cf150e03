"""Least-squares fits of thresholds to the number of images per class (Section 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fnx.errors import DataError

CURVES: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "log": ("a + b·ln(n)", np.log),
    "inverse_sqrt": ("a + b/√n", lambda n: 1 / np.sqrt(n)),
}
"""The paper's logarithmic curve, and the one that the noise of an EDF suggests."""

MINIMUM = 3
"""Points below which a curve with two parameters says nothing."""


@dataclass(frozen=True)
class Fit:
    """t = intercept + slope · g(n), and the share of the variance it explains."""

    curve: str
    intercept: float
    slope: float
    r_squared: float
    points: int

    def __call__(self, images_per_class: NDArray[Any]) -> NDArray[Any]:
        """Return the curve's threshold at some numbers of images per class."""
        values: NDArray[Any] = self.intercept + self.slope * CURVES[self.curve][1](images_per_class)
        return values


def fit(
    images_per_class: Sequence[float] | NDArray[Any],
    thresholds: Sequence[float] | NDArray[Any],
    curve: str = "log",
) -> Fit:
    """Fit thresholds to the mean number of images per class, by least squares.

    Args:
        images_per_class: (n,) mean |I_c| of each data set.
        thresholds: (n,) t⁺ or t⁻.
        curve: "log" (Section 7.1) or "inverse_sqrt".

    Raises:
        DataError: with fewer than three points, or all at the same number of images.

    >>> round(fit([50, 100, 200], [0.2, 0.15, 0.1]).r_squared, 6)
    1.0
    """
    n = np.asarray(images_per_class, np.float64)
    t = np.asarray(thresholds, np.float64)
    if len(n) < MINIMUM or len(np.unique(n)) == 1:
        raise DataError(
            f"a fit needs at least {MINIMUM} runs with different numbers of images per class,"
            f" found {len(n)} run(s) with {len(np.unique(n))} number(s)"
        )
    design = np.column_stack([np.ones_like(n), CURVES[curve][1](n)])
    (intercept, slope), *_ = np.linalg.lstsq(design, t, rcond=None)
    residual = t - design @ np.array([intercept, slope])
    total = float(((t - t.mean()) ** 2).sum())
    explained = 1 - float((residual**2).sum()) / total if total > 0 else float("nan")
    return Fit(curve, float(intercept), float(slope), explained, len(n))


def fits_table(table3: pl.DataFrame) -> pl.DataFrame:
    """Fit both curves to t⁺ and t⁻, apart for each model and statistic of a Table 3.

    Args:
        table3: as of `fnx.analysis.comparison.table3.table3`.

    Returns:
        ``model``, ``statistic``, ``sign``, ``curve``, ``intercept``, ``slope``, ``r_squared``,
        ``points``; empty where no group has three runs of different |I_c|.
    """
    rows: list[dict[str, Any]] = []
    for (model, statistic), group in table3.group_by(["model", "statistic"], maintain_order=True):
        for sign, column in (("+", "t_plus"), ("-", "t_minus")):
            n, t = group.drop_nulls(column).select("images_per_class", column)
            with suppress(DataError):
                rows += [
                    {"model": model, "statistic": statistic, "sign": sign}
                    | asdict(fit(n.to_numpy(), t.to_numpy(), curve))
                    for curve in CURVES
                ]
    texts, numbers = ("model", "statistic", "sign", "curve"), ("intercept", "slope", "r_squared")
    return pl.DataFrame(
        rows,
        schema=dict.fromkeys(texts, pl.String())
        | dict.fromkeys(numbers, pl.Float64())
        | {"points": pl.Int64()},
    )
