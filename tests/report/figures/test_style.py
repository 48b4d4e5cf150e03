"""How figures are laid out: sizes, names that are left out, legends that fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from fnx.report.figures import style
from fnx.report.figures.draw import Picture, save_all


@pytest.fixture
def axes() -> Axes:
    return style.new_figure(height=3.0).subplots()


@pytest.mark.parametrize(
    ("layers", "per_layer", "height"),
    [(1, 0.2, 1.2), (6, 0.2, 1.2), (10, 0.2, 2.0), (55, 0.2, 11.0), (500, 0.2, 11.0), (4, 0.5, 2)],
)
def test_an_axis_of_layers_grows_up_to_a_page(layers: int, per_layer: float, height: float) -> None:
    assert style.layers_height(layers, per_layer) == pytest.approx(height)


def test_layers_are_named_as_far_as_there_is_room(axes: Axes) -> None:
    names = [f"layer {i}" for i in range(40)]
    kinds = ["conv"] * 30 + ["fc"] * 10
    # A name needs 1.2 × 8 points: in 1.2 inches, 86.4 points, are 9 of 40: every fourth.
    style.layer_axis(axes, names, kinds, 1.2)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names[::4]
    assert axes.get_ylim() == (39.5, -0.5)
    (rule,) = axes.lines
    assert list(rule.get_ydata()) == [29.5, 29.5]
    style.layer_axis(axes, names[:9], kinds[:9], 1.2)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names[:9]


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (7, 3, 3)]
)
def test_small_multiples_fill_rows_from_the_left(count: int, columns: int, rows: int) -> None:
    figure, panels, foot = style.small_multiples(count, panel_height=2.0, share_y=True)
    assert figure.get_figheight() == pytest.approx(2.0 * rows + 1.0)
    places = [panel.get_subplotspec() for panel in panels]
    assert [(p.rowspan.start, p.colspan.start) for p in places if p] == [
        divmod(i, columns) for i in range(count)
    ]
    spec = foot.get_subplotspec()
    assert spec is not None
    assert (spec.rowspan.start, spec.colspan.start, spec.colspan.stop) == (rows, 0, columns)
    shared = [panels[0].get_shared_y_axes().joined(panels[0], panel) for panel in panels[1:]]
    assert all(shared)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, 1), (-0.5, 1), (0.0, 1), (0.8, 1), (-0.8, 1), (0.9, 0), (-0.9, 0), (np.inf, 0)],
)
@pytest.mark.parametrize(("label", "side"), [("t⁺", "left"), ("t⁻", "right")])
def test_a_threshold_is_named_within_the_limits(
    axes: Axes, value: float, shown: int, label: str, side: str
) -> None:
    axes.set_xlim(-0.8, 0.8)
    style.threshold_line(axes, value, label)
    assert len(axes.texts) == shown
    assert len(axes.lines) == (1 if np.isfinite(value) else 0)
    if shown:
        assert axes.texts[0].get_text() == f"{label} = {value:.3f}".replace("-", "−")
        assert axes.texts[0].get_horizontalalignment() == side
        assert axes.texts[0].xyann == (4 if side == "left" else -4, -2)
        style.threshold_line(axes, value, label, above=True)
        assert axes.texts[1].xyann == (0, 3)


@pytest.mark.parametrize(
    ("longest", "asked", "columns"), [(5, 4, 4), (25, 4, 3), (25, 2, 2), (200, 4, 1)]
)
def test_a_legend_has_as_many_columns_as_fit(
    axes: Axes, longest: int, asked: int, columns: int
) -> None:
    for i in range(5):
        axes.plot([0, 1], [i, i], label="x" * (longest if i == 2 else 3))
    style.legend_below(axes, asked)
    legend = axes.get_legend()
    assert legend is not None
    assert legend._ncols == columns


def test_series_have_colours_from_dark_to_light_and_marks_of_their_own() -> None:
    found = style.series_styles(5)
    light = [sum(colour[:3]) for colour, _, _ in found]
    assert light == sorted(light)
    assert [marker for _, marker, _ in found] == list("osD^v")
    assert found[0][2] == found[4][2] == "-"
    assert len({str(line) for _, _, line in found}) == 4
    assert [marker for _, marker, _ in style.series_styles(13)[-3:]] == ["h", "o", "s"]


def test_a_figure_is_saved_in_every_format_the_same_each_time(tmp_path: Path) -> None:
    with style.style():
        figure = style.new_figure()
        figure.subplots().plot([1, 2], [3, 4])
        paths = style.save(figure, tmp_path / "a.b", ["png", "svg", "pdf"])
        assert [path.name for path in paths] == ["a.b.png", "a.b.svg", "a.b.pdf"]
        first = [path.read_bytes() for path in paths]
        style.save(figure, tmp_path / "a.b", ["png", "svg", "pdf"])
    assert [path.read_bytes() for path in paths] == first
    assert not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)  # laid out once
    with Image.open(paths[0]) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)


@pytest.mark.parametrize(
    ("formats", "files"),
    [
        ([], ["a.csv", "a.parquet"]),
        (["svg"], ["a.csv", "a.parquet", "a.svg"]),
        (["png", "svg"], ["a.csv", "a.parquet", "a.png", "a.svg"]),
        (["png"], ["a.csv", "a.parquet", "a.png"]),
    ],
)
def test_a_picture_is_saved_as_asked_and_its_drawing_is_given_back(
    tmp_path: Path, formats: list[str], files: list[str]
) -> None:
    with style.style():
        figure = style.new_figure(2, 1)
        figure.text(0.5, 0.5, "Käfer")
        drawn = save_all([Picture("a", figure, pl.DataFrame({"x": [1]}))], tmp_path, formats)
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert list(drawn) == ["a"]
    assert "Käfer" in drawn["a"]
    if "svg" in formats:
        assert (tmp_path / "a.svg").read_text(encoding="utf-8") == drawn["a"]


def test_drawings_come_in_the_order_of_their_pictures(tmp_path: Path) -> None:
    pictures = []
    with style.style():
        for name in ("first", "second", "third"):
            figure = style.new_figure(2, 1)
            figure.text(0.5, 0.5, f"the {name}")
            pictures.append(Picture(name, figure, pl.DataFrame({"x": [1]})))
        drawn = save_all(pictures, tmp_path, ["svg"])
    assert list(drawn) == ["first", "second", "third"]
    assert all(f"the {name}" in svg for name, svg in drawn.items())
    files = {name: (tmp_path / f"{name}.svg").read_text(encoding="utf-8") for name in drawn}
    assert files == drawn


def test_long_headings_and_names_are_cut(axes: Axes) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    style.title(figure, "h" * 200, "d" * 200)
    assert [len(text.get_text()) for text in figure.texts] == [70, 120]
    style.layer_axis(axes, ["n" * 40], ["conv"], 1.2)
    assert len(axes.get_yticklabels()[0].get_text()) == 28


def test_layers_are_in_the_order_of_the_run_that_has_most() -> None:
    runs = {"a": ["x", "z"], "b": ["x", "y", "fc"], "c": ["w", "fc"]}
    rows = [(run, name, name[0] * 2) for run, names in runs.items() for name in names * 2]
    table = pl.DataFrame(rows, schema=["run", "layer", "kind"], orient="row")
    names, kinds = style.layers_of(table, "run")
    assert names == ["x", "y", "fc", "z", "w"]
    assert kinds == ["xx", "yy", "ff", "zz", "ww"]
