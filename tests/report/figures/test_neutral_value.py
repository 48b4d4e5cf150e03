"""Figures of a statistic whose neutral value is 0.5: presence to its right, absence to its left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.report.synthetic import Synthetic, distances, write_run

from fnx.analysis import Run
from fnx.analysis.profiles import class_profile
from fnx.report.figures import counts, layers, pair, profiles, style
from fnx.report.figures import distances as spread
from fnx.report.terminal import parts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    spec = Synthetic(statistic="auroc", limits=(0, 1), neutral=0.5)
    arrays = tuple(np.float32((values + 1) / 2) for values in distances(spec))
    folder = tmp_path_factory.mktemp("neutral") / "run"
    return Run.open(write_run(folder, spec.but(arrays=arrays)))


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style.style():
        yield


def lines(axes: Axes) -> list[float]:
    """Where vertical lines over the whole height are."""
    upright = [line for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    return sorted({float(np.asarray(line.get_xdata())[0]) for line in upright})


def test_layers_lie_on_both_sides_of_it(run: Run) -> None:
    drawn = layers.table([run], ["run"])
    (axes,) = layers.draw([run], ["run"], drawn).axes
    low, high = axes.get_xlim()
    assert low + high == pytest.approx(1)
    limits = sorted(kept.threshold for kept in run.kept.values())
    assert lines(axes) == sorted([limits[0], 0.5, limits[1]])


def test_ends_that_are_infinite_are_clipped_as_far_from_it_as_the_finite_ones() -> None:
    rows = pl.DataFrame({
        "mode": [0.75, 0.25], "low": [0.625, -np.inf], "high": [np.inf, 0.375],
        "mode_random": [0.5, 0.5], "low_random": [0.5, 0.5], "high_random": [0.6, 0.875],
    })  # fmt: skip
    found = layers._finite(rows, "mode", 0.5)
    assert found["high"].to_list() == [0.875, 0.375]
    assert found["low"].to_list() == [0.625, 0.125]


@pytest.mark.parametrize(("sign", "ends"), [("+", (0.5, 1)), ("-", (0, 0.5))])
def test_curves_begin_at_it(run: Run, sign: str, ends: tuple[float, float]) -> None:
    drawn = counts.table(run, sign)
    top = counts.draw(run, sign, drawn).axes[0]
    assert top.get_xlim() == pytest.approx(ends)
    gap = abs(run.kept[sign].threshold - 0.5) / 0.5
    away = min(gap + 0.12, 0.55)
    (note,) = [text for text in top.texts if "widest gap" in text.get_text()]
    assert note.xyann[0] == pytest.approx(away if sign == "+" else 1 - away)


def test_a_distribution_has_a_line_at_it(run: Run) -> None:
    figure = spread.draw([run], ["run"], spread.table([run], ["run"]))
    assert all(0.5 in lines(axes) for axes in figure.axes)


def test_bars_begin_at_it(run: Run) -> None:
    figure = profiles.draw_class(run, class_profile(run, 1, 3))
    for axes, sign in zip(figure.axes[:2], (1, -1), strict=True):
        bars = [bar for bar in axes.patches if bar.get_width()]
        assert len(bars) == 3
        for bar in bars:
            ends = sorted([bar.get_x(), bar.get_x() + bar.get_width()])
            assert ends[0 if sign > 0 else 1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("distance", "threshold", "words"),
    [
        (0.4, 0.45, "D = 0.400\n< t⁻ = 0.450"),
        (0.4, 0.35, "D = 0.400\nnot beyond t⁻ = 0.350"),
        (0.6, 0.55, "D = 0.600\n> t⁺ = 0.550"),
        (0.5, 0.55, "D = 0.500\nnot beyond t⁺ = 0.550"),
        (0.6, None, "D = 0.600"),
    ],
)
def test_a_pair_is_said_to_lie_on_its_side(
    distance: float, threshold: float | None, words: str
) -> None:
    assert pair._words(distance, threshold, 0.5) == words


def test_an_axis_is_centred_about_it() -> None:
    axes: Axes = Figure().subplots()
    for middle, expected in ((0.5, (-0.25, 1.25)), (0.0, (-1.25, 1.25))):
        axes.set_xlim(0.25, 1.25)
        style.centre(axes, middle)
        assert axes.get_xlim() == expected
    axes.set_xlim(-2, 1)
    style.centre(axes)
    assert axes.get_xlim() == (-2, 2)


def test_bars_of_the_terminal_are_as_long_as_the_distance_from_it() -> None:
    assert parts.scale_of(pl.Series([0.9, 0.4]), 0.5) == 0.5
    assert parts.scale_of(pl.Series([3.0, 0.4, np.inf]), 1.0) == 2
    assert parts.scale_of(pl.Series([0.5, -0.25]), 0.0) == 1
    assert parts.scale_of(pl.Series([2.5, -4.0]), 0.0) == 4
    (text, role), bar = parts.distance_cells(0.4, "-", 0.5, 0.35, neutral=0.5)
    assert (text, role, bar.role) == ("0.400", "-", "-")
    assert (bar.share, bar.mark) == pytest.approx((0.2, 0.3))
    assert parts.distance_cells(0.4, "+", 1.0, neutral=0)[0] == ("+0.400", "+")
