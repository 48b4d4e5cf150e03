"""The fits of Section 7.1 against the paper's printed numbers, which are test data only."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fnx.analysis.comparison.fits import fit, fits_table
from fnx.errors import DataError

# Tables 2 and 3 as printed: images, classes, t+, t-. Images a class is their quotient.
PRINTED = {
    "imagenet": (50_000, 1_000, 0.150, -0.121),
    "cub200": (11_788, 200, 0.185, -0.155),
    "wood": (438, 7, 0.176, -0.156),
    "flowers102": (8_189, 102, 0.141, -0.120),
    "caltech101": (9_146, 101, 0.148, -0.124),
    "mit67": (6_700, 67, 0.123, -0.106),
    "textures": (5_640, 47, 0.101, -0.089),
    "caltech256": (30_607, 256, 0.112, -0.096),
    "catsdogs": (7_349, 37, 0.115, -0.098),
    "stanforddogs": (20_580, 120, 0.110, -0.092),
    "food101": (25_250, 101, 0.072, -0.062),
}


def columns(*without: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.array([row for name, row in PRINTED.items() if name not in without])
    return rows[:, 0] / rows[:, 1], rows[:, 2], rows[:, 3]


@pytest.mark.parametrize(
    ("curve", "without", "plus", "minus"),
    [
        ("log", ("imagenet",), 0.820, 0.835),  # printed: 0.82 and 0.84
        ("log", (), 0.766, 0.733),
        ("inverse_sqrt", ("imagenet",), 0.857, 0.873),
    ],
)
def test_fits_to_the_printed_table_3(
    curve: str, without: tuple[str, ...], plus: float, minus: float
) -> None:
    n, t_plus, t_minus = columns(*without)
    assert fit(n, t_plus, curve).r_squared == pytest.approx(plus, abs=6e-4)
    assert fit(n, t_minus, curve).r_squared == pytest.approx(minus, abs=6e-4)


def test_a_perfect_curve_is_found_again() -> None:
    n = np.array([10.0, 50.0, 200.0, 1000.0])
    found = fit(n, 0.02 + 0.9 / np.sqrt(n), "inverse_sqrt")
    assert (found.intercept, found.slope) == pytest.approx((0.02, 0.9))
    np.testing.assert_allclose(found(n), 0.02 + 0.9 / np.sqrt(n))


@pytest.mark.parametrize("n", [[50, 100], [80, 80, 80]])
def test_too_few_points_are_refused(n: list[float]) -> None:
    with pytest.raises(DataError, match="at least 3 runs"):
        fit(n, [0.1] * len(n))


def test_each_model_and_statistic_has_its_own_fit() -> None:
    n, t_plus, t_minus = columns("imagenet")
    table = pl.DataFrame(
        {
            "model": ["vgg16"] * 10 + ["vgg19"] * 2,
            "statistic": ["ks"] * 12,
            "images_per_class": [*n, 50, 60],
            "t_plus": [*t_plus, 0.1, 0.1],
            "t_minus": [*t_minus, None, None],
        }
    )
    found = fits_table(table)
    assert found["model"].unique().to_list() == ["vgg16"]
    assert found.select("sign", "curve").rows() == [
        ("+", "log"),
        ("+", "inverse_sqrt"),
        ("-", "log"),
        ("-", "inverse_sqrt"),
    ]
    assert found["points"].to_list() == [10] * 4
