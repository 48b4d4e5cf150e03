"""The numbers beside each figure, against plain NumPy on the run's arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text
from tests.report.looks import assert_looks_approved
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.record import RunRecord
from fnx.config.schema import ReportConfig
from fnx.errors import DataError
from fnx.images.official import OFFICIAL
from fnx.report import write_report
from fnx.report.figures import distances, groups, kept, layers, style
from fnx.report.figures.draw import figures, save_table
from fnx.report.tables import datasets_table


@pytest.fixture(scope="module")
def run(finished: Path) -> Run:
    return Run.open(finished)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two sources, three groups of data sets, one network without fully connected layers."""
    folder = tmp_path_factory.mktemp("three")
    conv = (("conv1_1", 8, "conv"), ("conv1_2", 8, "conv"))
    specs = [
        Synthetic(dataset="wood", model="vgg16_places", class_sizes=(30, 40, 20), seed=1),
        Synthetic(dataset="mine", seed=2),
        Synthetic(dataset="food101", model="vgg16_places", layers=conv, class_sizes=(60, 50)),
    ]
    return [Run.open(write_run(folder / spec.dataset, spec)) for spec in specs]


NAMES = ["wood", "mine", "food101"]


def beside(run: Run, name: str) -> pl.DataFrame:
    return pl.read_parquet(run.path / "figures" / f"{name}.parquet")


def rows_of(run: Run, **of: str) -> np.ndarray:
    return run.features.filter(**of)["feature_id"].to_numpy()


def test_every_figure_has_its_numbers_beside_it_twice(run: Run) -> None:
    drawn = {path.stem for path in (run.path / "figures").glob("*.png")}
    assert drawn == {
        "fig05_layers", "fig06_distribution", "fig09_presence", "fig09_absence", "fig10_kept"
    }  # fmt: skip
    for name in drawn | {"table2", "table3"}:
        table = beside(run, name)
        assert table.height
        assert not any(dtype.is_nested() for dtype in table.dtypes)
        read = pl.read_csv(
            run.path / "figures" / f"{name}.csv", schema_overrides=dict(table.schema)
        )
        assert read.equals(table), name


def test_infinities_survive_in_both_files(tmp_path: Path) -> None:
    table = pl.DataFrame({"x": [0.5, float("inf"), float("-inf"), None]})
    save_table(table, tmp_path / "a.b")
    assert pl.read_parquet(tmp_path / "a.b.parquet").equals(table)
    assert pl.read_csv(tmp_path / "a.b.csv").equals(table)


def test_figure_5_has_bars_of_68_percent_on_each_side_of_the_mode(run: Run) -> None:
    table = beside(run, "fig05_layers")
    assert table.height == 6
    for row in table.rows(named=True):
        ids = rows_of(run, layer=row["layer"])
        for array, end in ((run.distances, ""), (run.distances_random, "_random")):
            values = array[..., ids, :].ravel()
            values = values[values > 0] if row["sign"] == "+" else values[values < 0]
            mode = row["mode" + end]
            for side, bar in (
                (values[values >= mode], values[(values >= mode) & (values <= row["high" + end])]),
                (values[values <= mode], values[(values <= mode) & (values >= row["low" + end])]),
            ):
                assert bar.size / side.size == pytest.approx(0.68, abs=2 / side.size)
        threshold = run.threshold(row["sign"])
        assert threshold is not None
        assert row["threshold"] == threshold["threshold"]


def test_the_fitted_modes_reach_figure_5(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_report(Run.open(folder), ReportConfig(mode="lognormal", formats=[]))
    run = Run.open(folder)
    drawn = pl.read_parquet(folder / "figures/fig05_layers.parquet")
    assert drawn["mode"].to_list() == run.layers["lognormal_mode"].to_list()
    assert drawn["high_random"].to_list() == run.layers["lognormal_high_random"].to_list()
    only = [run], ["x"]
    with style.style():
        for mode, named in (("lognormal", True), ("empirical", False)):
            svg = style.svg(layers.draw(*only, layers.table(*only, mode), mode))
            assert ("log-normal" in svg) == named
            assert_looks_approved(**{f"fig05_{mode}": svg})


def test_a_run_without_the_fitted_modes_is_to_be_run_anew(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    old = pl.read_parquet(folder / "layers.parquet").drop("lognormal_low", "lognormal_mode")
    old.write_parquet(folder / "layers.parquet")
    with pytest.raises(DataError, match=r"has no column lognormal_low: run it anew"):
        layers.table([Run.open(folder)], ["old"], "lognormal")


def test_figure_6_has_the_percentages_of_all_pairs(run: Run) -> None:
    table = beside(run, "fig06_distribution")
    edges = np.linspace(-1, 1, 101)
    for kind in ("conv", "fc"):
        rows = table.filter(kind=kind)
        np.testing.assert_allclose(rows["low"], edges[:-1])
        ids = rows_of(run, kind=kind)
        for column, array in (("pct", run.distances), ("pct_random", run.distances_random)):
            values = np.asarray(array[..., ids, :], np.float64)
            expected = 100 * np.histogram(values, edges)[0] / values.size
            np.testing.assert_allclose(rows[column], expected)


def test_figures_5_and_6_show_calibrated_distances_if_asked(tmp_path: Path) -> None:
    spec = Synthetic(class_sizes=(8, 24, 30), calibrated=True)
    run = Run.open(write_run(tmp_path / "run", spec))
    with style.style():
        config = ReportConfig(distance="calibrated")
        drawn = {one.name: one for one in figures(run, config)}
        texts = {
            name: " ".join(text.get_text() for text in drawn[name].figure.findobj(Text))
            for name in ("fig05_layers", "fig06_distribution", "fig10_kept")
        }
    modes = drawn["fig05_layers"].table
    assert modes["mode"].to_list() == run.layers["calibrated_mode"].to_list()
    assert modes["low_random"].to_list() == run.layers["calibrated_low_random"].to_list()
    assert modes["threshold"].null_count() == modes.height
    shares = drawn["fig06_distribution"].table
    found = np.asarray(run.calibrated)[rows_of(run, kind="conv")]
    counts = np.histogram(found[found != 0], np.linspace(-1, 1, 101))[0]
    of_conv = shares.filter(kind="conv")
    assert of_conv["pct"].to_list() == pytest.approx((100 * counts / found.size).tolist())
    noise = np.asarray(run.calibrated_random)[:, rows_of(run, kind="conv")]
    counts = np.histogram(noise[noise != 0], np.linspace(-1, 1, 101))[0]
    assert of_conv["pct_random"].to_list() == pytest.approx((100 * counts / noise.size).tolist())
    assert shares["t_plus"].null_count() == shares.height
    for name in ("fig05_layers", "fig06_distribution"):
        assert ", calibrated, shapes" in texts[name]
        assert "calibrated D, signed KS distance" in texts[name]
        assert "t⁺ =" not in texts[name]
    assert "calibrated" not in texts["fig10_kept"]
    farther = np.linspace(-2, 2, 101)
    wide = distances._percentages(run, "conv", farther, "calibrated")
    expected = np.histogram(found[found != 0], farther)[0]
    assert wide[0].tolist() == pytest.approx((100 * expected / found.size).tolist())


def test_a_run_that_is_not_calibrated_shows_raw_distances(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    with style.style():
        drawn = next(iter(figures(run, ReportConfig(distance="calibrated"))))
    assert drawn.table["mode"].to_list() == run.layers["mode"].to_list()
    with pytest.raises(DataError, match="its distances are not calibrated"):
        run.arrays("calibrated")


def test_an_unbounded_statistic_leaves_out_its_largest_thousandth_only(tmp_path: Path) -> None:
    layers = (("conv1", 600, "conv"), ("fc6", 600, "fc"))
    spec = Synthetic(statistic="kl", unbounded=True, layers=layers)
    run = Run.open(write_run(tmp_path / "run", spec))
    real = np.array(run.distances)
    real[1, 1] = 1e6  # one pair far out takes no room from the others
    np.save(tmp_path / "run/distances.npy", real)
    table = distances.table([Run.open(run.path)], ["kl"])
    assert 5 < table["high"].max() < 100  # type: ignore[operator]
    assert table["low"].min() == 0
    finite = np.concatenate([real.ravel(), run.distances_random.ravel()])
    within = finite[np.isfinite(finite)] <= table["high"].max()
    assert within.mean() >= 0.999
    missing = 100 - table.group_by("kind").agg(pl.col("pct").sum()).filter(kind="conv")["pct"][0]
    conv = real[rows_of(run, kind="conv")]
    assert missing == pytest.approx(100 * (conv > table["high"].max()).mean())


@pytest.mark.parametrize(("name", "sign"), [("fig09_presence", 1), ("fig09_absence", -1)])
def test_figure_9_counts_the_features_beyond_x(run: Run, name: str, sign: int) -> None:
    table = beside(run, name)
    real, random = sign * run.distances, sign * run.distances_random
    of_class = table.filter(curve="class")
    assert of_class["class_id"].unique().to_list() == [0, 1, 2, 3, 4]
    for row in of_class.gather_every(37).rows(named=True):
        x, c = np.float32(sign * row["x"]), row["class_id"]
        assert row["real"] == (real[:, c] > x).sum()
        assert row["random"] == (random[0, :, c] > x).sum()
    for row in table.filter(curve="mean").gather_every(23).rows(named=True):
        x = np.float32(sign * row["x"])
        assert row["real"] == pytest.approx((real > x).sum() / 5)
        assert row["random"] == pytest.approx((random > x).sum() / 10)
    fine = table.filter(curve="davg")
    assert fine["davg"].to_list() == run.davg[f"davg_{'plus' if sign > 0 else 'minus'}"].to_list()
    (cut,) = table.filter(curve="threshold").rows(named=True)
    x = np.float32(sign * cut["x"])
    assert cut["real"] == pytest.approx((real > x).sum() / 5)
    assert cut["real"] - cut["random"] == pytest.approx(cut["davg"])
    assert cut["davg"] == pytest.approx(fine["davg"].max())


def test_figure_10_has_the_shares_beyond_the_thresholds(run: Run) -> None:
    table = beside(run, "fig10_kept")
    assert table.height == 6
    for row in table.rows(named=True):
        ids, side = rows_of(run, layer=row["layer"]), 1 if row["sign"] == "+" else -1
        limit = np.float32(side * row["threshold"])
        for column, array in (
            ("pct_kept", run.distances),
            ("pct_kept_random", run.distances_random),
        ):
            share = 100 * (side * array[..., ids, :] > limit).mean()
            assert row[column] == pytest.approx(share)


def test_table_2_counts_the_images_that_were_used(run: Run, three: list[Run]) -> None:
    (row,) = beside(run, "table2").rows(named=True)
    sizes = np.bincount(run.images.filter(status="ok")["class_id"].to_numpy())
    assert (row["images"], row["classes"]) == (sizes.sum(), sizes.size)
    assert (row["smallest"], row["largest"], row["mean"]) == (20, 40, sizes.mean())
    assert row["paper_images"] is None
    of_three = datasets_table([*three, three[0]])
    assert of_three["dataset"].to_list() == NAMES
    assert of_three["paper_classes"].to_list() == [7, None, 101]
    assert of_three["paper_mean"].to_list() == [pytest.approx(438 / 7), None, 250]
    assert of_three["paper_smallest"].to_list() == [14, None, 250]
    assert of_three["paper_largest"].to_list() == [179, None, 250]
    assert of_three["paper_images"].to_list() == [438, None, 25_250]


def test_table_3_is_the_row_of_the_thresholds(run: Run) -> None:
    (row,) = beside(run, "table3").rows(named=True)
    for side, sign in (("plus", "+"), ("minus", "-")):
        found = run.threshold(sign)
        assert found is not None
        assert row[f"t_{side}"] == found["threshold"]
        assert row[f"davg_{side}"] == pytest.approx(found["kept"] - found["kept_random"])


def test_figure_8_parts_the_data_sets_by_their_overlap_with_imagenet(three: list[Run]) -> None:
    of_six = distances.table(three, NAMES)
    table = groups.table(three, NAMES, of_six)
    assert table.select("run", "group").unique(maintain_order=True).rows() == [
        ("wood", "c"),
        ("mine", "other"),
    ]
    assert table.drop("group").equals(of_six.filter(kind="fc"))
    with style.style():
        figure = groups.draw(three, NAMES, table)
        svg = style.svg(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "(c) no class is in ImageNet 2012",
        "other data sets",
    ]
    assert "no such layers: food101" in svg
    assert_looks_approved(fig08_fc=svg)


def test_the_groups_hold_each_data_set_of_the_paper_once(tmp_path: Path) -> None:
    record = RunRecord(dataset="x", model="m", statistic={"name": "ks"})
    found = [
        groups.group(Run(tmp_path, replace(record, config={"dataset": {"layout": name}})))
        for name in OFFICIAL
    ]
    assert [found.count(name) for name in ("a", "b", "c", "other")] == [5, 3, 3, 0]


def test_random_labels_lie_behind_every_distribution(run: Run, three: list[Run]) -> None:
    with style.style():
        five = layers.draw(three, NAMES, layers.table(three, NAMES))
        shares = distances.table(three, NAMES)
        six = distances.draw(three, NAMES, shares)
        eight = groups.draw(three, NAMES, groups.table(three, NAMES, shares))
        only = [run], ["alone"]
        alone = distances.draw(*only, distances.table(*only))
        assert_looks_approved(five=style.svg(five), six=style.svg(six))
    # Two signs for each layer of each run.
    assert sum(len(bars) for bars in five.axes[0].containers if is_bars(bars)) == 2 * (3 + 3 + 2)
    assert names(five.axes[0]) == ["random labels", *NAMES]
    faint = [[line for line in axes.lines if line.get_alpha()] for axes in six.axes + eight.axes]
    assert [len(lines) for lines in faint] == [3, 2, 1, 1]
    assert all("random labels" in names(axes) for axes in alone.axes)


def is_bars(container: object) -> bool:
    return type(container).__name__ == "BarContainer"


def names(axes: object) -> list[str]:
    return axes.get_legend_handles_labels()[1]  # type: ignore[attr-defined,no-any-return]


def test_small_multiples_have_a_panel_per_run(three: list[Run], tmp_path: Path) -> None:
    unsigned = Run.open(write_run(tmp_path / "kl", Synthetic(statistic="kl", unbounded=True)))
    runs, labels = [*three, unsigned], [*NAMES, "kl"]
    table = kept.table(runs, labels)
    with style.style():
        ten = kept.draw(runs, labels, table)
        assert_looks_approved(small_multiples=style.svg(ten))
    panels = ten.axes[:-1]
    assert [axes.get_title(loc="left") for axes in panels] == labels
    widest = max(table["pct_kept"].max(), table["pct_kept_random"].max())
    low, high = panels[0].get_xlim()
    assert high >= widest
    assert [axes.get_xlim() for axes in panels] == [(-high, high)] * 3 + [(0, high)]
    assert low == -high
    for axes, run in zip(panels, runs, strict=True):
        told = [text.get_text() for text in axes.texts]
        expected = [(sign, run.threshold(sign)) for sign in "+-"]
        assert sorted(told) == sorted(
            f"t{'⁺' if sign == '+' else '⁻'} = {row['threshold']:.3f}".replace("-", "−")
            for sign, row in expected
            if row
        )


def test_thresholds_that_keep_nothing_are_not_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    thresholds = pl.read_parquet(folder / "thresholds.parquet")
    nothing = thresholds.with_columns(threshold=pl.col("sign").replace_strict(
        {"+": float("inf"), "-": float("-inf")}
    ))  # fmt: skip
    nothing.write_parquet(folder / "thresholds.parquet")
    with style.style():
        drawn = {
            picture.name: style.svg(picture.figure)
            for picture in figures(Run.open(folder), ReportConfig())
        }
    assert "t⁺ =" not in drawn["fig06_distribution"]
    assert "widest gap" not in drawn["fig09_presence"]
    assert "t⁻ = −∞" in drawn["fig10_kept"]
