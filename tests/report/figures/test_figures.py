from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.report.looks import assert_looks_approved
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.report.comparison.gather import labels
from fnx.report.figures import counts, distances, layers, style

NAMES = (
    "fig05_layers",
    "fig06_distribution",
    "fig09_presence",
    "fig09_absence",
    "fig10_kept",
)


@pytest.mark.parametrize("name", NAMES)
def test_each_figure_is_a_picture_and_a_drawing_with_real_text(finished: Path, name: str) -> None:
    with Image.open(finished / "figures" / f"{name}.png") as image:
        assert image.width > 1000
        assert np.asarray(image.convert("L")).std() > 5
    svg = (finished / "figures" / f"{name}.svg").read_text()
    assert "<text" in svg
    assert "shapes" in svg
    assert "t⁺" in svg or name not in ("fig06_distribution", "fig09_presence", "fig10_kept")


def test_the_figures_of_a_run_look_as_approved(finished: Path) -> None:
    files = {name: finished / "figures" / f"{name}.svg" for name in NAMES}
    assert_looks_approved(**{name: file.read_text() for name, file in files.items()})


def test_axes_carry_their_units(finished: Path) -> None:
    texts = {name: (finished / "figures" / f"{name}.svg").read_text() for name in NAMES}
    assert "signed KS distance (100 bins) / dimensionless" in texts["fig05_layers"]
    assert "pairs / % per 0.02 of D" in texts["fig06_distribution"]
    assert "features with D &lt; x / number per class" in texts["fig09_absence"]
    assert "beyond the threshold / %" in texts["fig10_kept"]
    assert "−0." in texts["fig09_absence"]  # a minus, not a hyphen


def test_the_same_run_gives_the_same_drawing(finished: Path) -> None:
    run = Run.open(finished)
    with style.style():
        table = distances.table([run], ["x"])
        first, second = (style.svg(distances.draw([run], ["x"], table)) for _ in range(2))
    assert first == second


def test_figure_9_draws_every_class_and_the_threshold_at_the_widest_gap(finished: Path) -> None:
    run = Run.open(finished)
    with style.style():
        figure = counts.draw(run, "+", counts.table(run, "+"))
    random, real = figure.axes[0].collections
    assert len(real.get_paths()) == len(random.get_paths()) == run.classes.height
    start = [path.vertices[0, 1] for path in real.get_paths()]
    assert start == (run.distances > 0).sum(axis=0).tolist()
    gap = run.davg.sort("davg_plus", descending=True)["x"][0]
    row = run.threshold("+")
    assert row is not None
    assert run.davg.filter(x=gap)["davg_plus"].item() == pytest.approx(row["davg"])


def test_many_classes_are_a_picture_within_the_drawing(tmp_path: Path) -> None:
    spec = Synthetic(class_sizes=(5,) * 320, layers=(("conv1", 6, "conv"), ("fc", 6, "fc")))
    run = Run.open(write_run(tmp_path / "run", spec))
    with style.style():
        svg = style.svg(counts.draw(run, "-", counts.table(run, "-")))
    assert "<image" in svg
    assert len(svg) < 1_000_000


def test_several_runs_share_the_axes_in_their_order(finished: Path, tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "b",
        Synthetic(dataset="other", layers=(("conv1_1", 8, "conv"), ("conv9", 5, "conv"))),
    )
    runs = [Run.open(finished), Run.open(other)]
    with style.style():
        axes = layers.draw(runs, labels(runs), layers.table(runs, labels(runs))).axes[0]
        assert [tick.get_text() for tick in axes.get_yticklabels()] == [
            "conv1_1",
            "conv1_2",
            "fc6",
            "conv9",
        ]
        table = distances.table(runs, labels(runs))
        six = distances.draw(runs, labels(runs), table)
        assert len(six.axes) == 2
    assert table.filter(run="other")["kind"].unique().to_list() == ["conv"]
    assert table.filter(run="shapes", kind="fc")["pct"].sum() == pytest.approx(100)


def test_labels_name_only_what_differs(finished: Path, tmp_path: Path) -> None:
    run = Run.open(finished)
    exact = Run.open(write_run(tmp_path / "exact", Synthetic(statistic="ks_exact")))
    assert labels([run]) == ["shapes"]
    assert labels([run, exact]) == ["shapes, ks", "shapes, ks_exact"]
    assert labels([run, run]) == ["shapes (1)", "shapes (2)"]
