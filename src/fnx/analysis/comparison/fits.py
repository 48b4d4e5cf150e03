"""How thresholds follow the number of images a class (Section 7.1): least-squares fits with R²."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
        """The curve's threshold at some numbers of images a class."""
        values: NDArray[Any] = self.intercept + self.slope * CURVES[self.curve][1](images_per_class)
        return values


def fit(
    images_per_class: Sequence[float] | NDArray[Any],
    thresholds: Sequence[float] | NDArray[Any],
    curve: str = "log",
) -> Fit:
    """Least-squares fit of thresholds against the mean number of images a class.

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
    if len(n) < MINIMUM or len(np.unique(n)) < 2:
        raise DataError(
            f"a fit needs at least {MINIMUM} runs with different numbers of images a class,"
            f" found {len(n)} run(s) with {len(np.unique(n))} number(s)"
        )
    design = np.column_stack([np.ones_like(n), CURVES[curve][1](n)])
    (intercept, slope), *_ = np.linalg.lstsq(design, t, rcond=None)
    residual = t - design @ np.array([intercept, slope])
    total = float(((t - t.mean()) ** 2).sum())
    explained = 1 - float((residual**2).sum()) / total if total > 0 else float("nan")
    return Fit(curve, float(intercept), float(slope), explained, len(n))


def fits_table(table3: pl.DataFrame) -> pl.DataFrame:
    """Both curves fitted to t⁺ and t⁻, apart for each model and statistic of a Table 3.

    Args:
        table3: as of `fnx.analysis.comparison.table3.table3`.

    Returns:
        ``model``, ``statistic``, ``sign``, ``curve``, ``intercept``, ``slope``, ``r_squared``,
        ``points``; empty where no group has three runs of different |I_c|.
    """
    rows: list[dict[str, Any]] = []
    for (model, statistic), group in table3.group_by(["model", "statistic"], maintain_order=True):
        for sign, column in (("+", "t_plus"), ("-", "t_minus")):
            known = group.drop_nulls(column)
            if known.height < MINIMUM or known["images_per_class"].n_unique() < 2:
                continue
            for curve in CURVES:
                found = fit(known["images_per_class"].to_numpy(), known[column].to_numpy(), curve)
                rows.append(
                    {
                        "model": model,
                        "statistic": statistic,
                        "sign": sign,
                        "curve": curve,
                        "intercept": found.intercept,
                        "slope": found.slope,
                        "r_squared": found.r_squared,
                        "points": found.points,
                    }
                )
    text, number = pl.String(), pl.Float64()
    return pl.DataFrame(
        rows,
        schema={
            "model": text,
            "statistic": text,
            "sign": text,
            "curve": text,
            "intercept": number,
            "slope": number,
            "r_squared": number,
            "points": pl.Int64(),
        },
    )
