"""Figures of runs whose shape enters the branches of the drawing: each looks as approved."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from tests.report.looks import assert_looks_approved
from tests.report.shapes import LONG, Runs

from fnx.analysis import Run
from fnx.analysis.profiles import class_profile, feature_profile, layer_profile
from fnx.report.figures import (
    agreement,
    counts,
    distances,
    features,
    fits,
    groups,
    joint,
    kept,
    layers,
    pair,
    profiles,
    style,
)
from fnx.report.values import Values


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("looks"))


def compared(
    pairs: int, names: Sequence[str] = ("conv1", "pool1", "fc"), **null: Sequence[int]
) -> pl.DataFrame:
    """A table of agreement, with columns that are null in some rows."""
    rng = np.random.default_rng(pairs)
    rows = [
        {"run_a": f"run {p}", "run_b": f"another {p} " * (9 if p == 1 else 1), "layer": name,
         "kind": name[:2], "by": by, "distance": "raw"}
        for by in ("unit", "distribution") for p in range(pairs) for name in names
        if (p, name) != (0, "fc")
    ]  # fmt: skip
    numbers = ("spearman", "jaccard", "wasserstein", "pct_kept_a", "pct_kept_b")
    table = pl.DataFrame(rows).with_columns(
        pl.Series(
            name,
            rng.random(len(rows)) * (1.2 if name == "spearman" else 1) - 0.2 * (name == "spearman"),
        )
        for name in numbers
    )
    at = pl.int_range(pl.len())
    return table.with_columns(
        pl.when(~at.is_in(list(some))).then(pl.col(name)) for name, some in null.items()
    )


def of_agreement(_: Runs) -> dict[str, Figure]:
    every = range(200)
    return {
        "dots": agreement.draw(compared(3, spearman=[2]), "unit"),
        "dots_of_one_measure": agreement.draw(
            compared(1, ["fc"] * 1 + ["conv1"], jaccard=every), "unit"
        ),
        "dots_of_distributions": agreement.draw(compared(2), "distribution"),
        "dots_of_eight": agreement.draw(compared(8), "unit"),
        "colours_of_nine": agreement.draw(compared(9, jaccard=[1], spearman=[5]), "unit"),
        "colours_of_distributions": agreement.draw(
            compared(9, [f"conv{i}" for i in range(16)]), "distribution"
        ),
    }


def of_counts(runs: Runs) -> dict[str, Figure]:
    found = {}
    for name in ("unsigned", "nothing", "one_layer", "half"):
        run = getattr(runs, name)
        found[f"fig09_{name}"] = counts.draw(run, "+", counts.table(run, "+"))
    # A threshold far out, and one beyond which only random labels keep a feature.
    table = counts.table(runs.signed, "-")
    far = pl.when(pl.col("curve") == "threshold").then(-0.77).otherwise(pl.col("x")).alias("x")
    found["fig09_far"] = counts.draw(runs.signed, "-", table.with_columns(far))
    return found


def several(figure: Any, *some: Run, distance: str = "raw") -> Figure:
    labels = [f"run {i}" for i in range(len(some))]
    table = figure.table(some, labels, distance=distance)
    drawn: Figure = figure.draw(some, labels, table, distance=distance)
    return drawn


def of_distances(runs: Runs) -> dict[str, Figure]:
    drawn = partial(several, distances)
    return {
        "fig06_unsigned": drawn(runs.unsigned),
        "fig06_kinds": drawn(runs.signed),
        "fig06_half": drawn(runs.half),
        "fig06_several": drawn(runs.one_layer, runs.many_classes, runs.coarse),
        "fig06_two_ranges": drawn(runs.unsigned, runs.farther),
        "fig06_calibrated": drawn(runs.calibrated, distance="calibrated"),
    }


def of_groups(runs: Runs) -> dict[str, Figure]:
    some, labels = [runs.unsigned, runs.farther], ["a", "b"]
    table = groups.table(some, labels, distances.table(some, labels))
    return {"fig08_unsigned": groups.draw(some, labels, table)}


def of_features(runs: Runs) -> dict[str, Figure]:
    run = runs.pictured
    few = features.table(run, "+").head(3)
    nowhere = run.top_images.with_columns(dataset=pl.lit(None, pl.String))  # type: ignore[union-attr]
    found = {
        f"features_{sign}": features.draw(run, sign, features.table(run, sign)) for sign in "+-"
    }
    wide = pl.concat([features.table(run, "+")] * 2).with_columns(
        class_name=pl.lit(LONG),
        layer=pl.when(pl.col("unit") > 3).then(pl.lit("x" * 40)).otherwise("layer"),
    )
    unknown = Run(run.path, run.record, {"top_images": nowhere})
    two = Run(
        run.path, run.record, {"classes": run.classes.head(2), "distances": run.distances[:, :2]}
    )
    return found | {
        "features_three": features.draw(unknown, "+", few),
        "features_five": features.draw(run, "+", wide.head(5)),
        "features_one": features.draw(run, "-", features.table(run, "-").head(1)),
        "features_two_classes": features.draw(two, "-", features.table(run, "-").head(2)),
    }


def of_fits(_: Runs) -> dict[str, Figure]:
    table = pl.DataFrame(
        {
            "label": ["a", "b", "c " * 30, "d"],
            "model": ["net"] * 4,
            "statistic": ["ks"] * 4,
            "images_per_class": [20.0, 90.0, 410.0, 1800.0],
            "t_plus": [0.4, 0.22, 0.1, 0.05],
            "t_minus": [-0.45, -0.2, -0.12, -0.04],
        }
    )
    curves = [("log", 0.6, -0.08, 0.91), ("inverse_sqrt", 0.01, 1.9, 0.987)]
    rows = [
        {"model": "net", "statistic": "ks", "sign": sign, "curve": curve, "points": 4,
         "intercept": direction * intercept, "slope": direction * slope, "r_squared": r}
        for sign, direction in (("+", 1), ("-", -1)) for curve, intercept, slope, r in curves
    ]  # fmt: skip
    both = pl.DataFrame(rows)
    return {
        "fits": fits.draw(table, both),
        "fits_unsigned": fits.draw(table, both.filter(sign="+")),
    }


def of_joint(runs: Runs) -> dict[str, Figure]:
    some = [runs.signed, runs.unsigned, runs.nothing, runs.signed, runs.pictured]
    labels = ["signed " * 9, "unsigned", "nothing", "again", "last " * 9]

    def drawn(*pairs: tuple[int, int]) -> Figure:
        raw = [(i, j, "raw") for i, j in pairs]
        return joint.draw(some, labels, joint.table(some, labels, raw))

    return {
        "joint_one": drawn((0, 2)),
        "joint_two": drawn((0, 1), (1, 4)),
        "joint_four": drawn((0, 1), (2, 3), (3, 4), (0, 4)),
    }


def of_kept(runs: Runs) -> dict[str, Figure]:
    def drawn(*some: Run) -> Figure:
        labels = [f"run {'x' * 45 * i}" for i in range(len(some))]
        return kept.draw(some, labels, kept.table(some, labels))

    return {
        "fig10_unsigned": drawn(runs.unsigned),
        "fig10_deep": drawn(runs.deep),
        "fig10_alike": drawn(runs.signed, runs.nothing, runs.unsigned),
    }


def of_layers(runs: Runs) -> dict[str, Figure]:
    drawn = partial(several, layers)
    return {
        "fig05_unsigned": drawn(runs.unsigned),
        "fig05_deep": drawn(runs.deep),
        "fig05_one_layer": drawn(runs.one_layer),
        "fig05_half": drawn(runs.half),
        "fig05_three": drawn(runs.signed, runs.nothing, runs.coarse),
        "fig05_two_unsigned": drawn(runs.unsigned, runs.farther),
        "fig05_calibrated": drawn(runs.calibrated, distance="calibrated"),
        "fig05_two_calibrated": drawn(*[runs.calibrated] * 2, distance="calibrated"),
    }


def of_pairs(runs: Runs) -> dict[str, Figure]:
    def drawn(
        distance: float, threshold: float | None, statistic: dict[str, Any], name: str = "fog"
    ) -> Figure:
        base = runs.half if statistic["name"] == "auroc" else runs.signed
        run = Run(base.path, replace(base.record, statistic=statistic))
        edges = np.array([0.0, 0.5, 1.0, 2.0, 4.0])
        shares = {"inner": [0.0, 0.1, 0.3, 0.6, 1.0], "outer": [0.0, 0.5, 0.8, 0.95, 1.0]}
        if distance < 0:
            shares = dict(zip(shares, reversed(shares.values()), strict=True))
        of_bins = {key: np.diff(share) / np.diff(edges) for key, share in shares.items()}
        table = pl.concat(
            [
                pl.DataFrame({"x": edges[:-1], "x_end": edges[1:], **of_bins, "curve": "density"}),
                pl.DataFrame({"x": edges, **shares, "curve": "cumulative"}),
            ],
            how="diagonal",
        )
        table = table.with_columns(
            layer=pl.lit("conv " * (1 + 9 * (name != "fog"))),
            unit=7,
            class_name=pl.lit(name),
            distance=pl.lit(distance),
            threshold=pl.lit(threshold, pl.Float64),
        )
        return pair.draw(run, table)

    return {
        "fig01_half": drawn(0.45, 0.5, {"name": "auroc"}),
        "fig01_exact": drawn(0.5, 0.5, {"name": "ks_exact"}),
        "fig01_absent": drawn(-0.5, -0.4, {"name": "ks", "bins": 4}),
        "fig01_unbounded": drawn(3.5, None, {"name": "kl"}, LONG),
    }


def of_profiles(runs: Runs) -> dict[str, Figure]:
    def of_class(run: Run, class_id: int, top: int = 10) -> Figure:
        return profiles.draw_class(run, class_profile(run, class_id, top))

    def of_feature(run: Run, feature_id: int, values: Values | str, **changes: Any) -> Figure:
        found = replace(feature_profile(run, feature_id), **changes)
        return profiles.draw_feature(run, found, values)

    def of_layer(run: Run, name: str, top: int = 10) -> Figure:
        return profiles.draw_layer(run, layer_profile(run, name, top))

    edges = np.linspace(0, 4, 5)
    values = Values(
        0, LONG, edges, np.array([10.0, 20, 30, 40]), np.array([70.0, 20, 5, 5]), 9, 1234
    )
    many = runs.many_classes
    thirty = feature_profile(many, 3).classes.head(30)
    thirty = thirty.with_columns(t_plus=pl.int_range(pl.len()) / 60)
    return {
        "show_deep": profiles.draw_run(runs.deep),
        "show_unsigned": profiles.draw_run(runs.unsigned),
        "class": of_class(runs.pictured, 0),
        "class_without_picture": of_class(runs.pictured, 2, 3),
        "class_unsigned": of_class(runs.unsigned, 0, 1),
        "class_kept_nothing": of_class(runs.nothing, 1, 0),
        "feature_pictured": of_feature(runs.pictured, 3, values),
        "feature_infinite": of_feature(runs.unsigned, 0, "no embedding " * 9, constant=True),
        "feature_many_classes": of_feature(many, 3, values),
        "feature_thirty": of_feature(many, 3, "none", classes=thirty),
        "layer": of_layer(runs.signed, "pool1"),
        "layer_half": of_layer(runs.half, "pool1", 2),
        "class_half": of_class(runs.half, 0, 2),
        "layer_unsigned": of_layer(runs.unsigned, "fc3", 2),
        "layer_many_classes": of_layer(many, "fc3", 0),
    }  # fmt: skip


DRAWN = (
    of_agreement, of_counts, of_distances, of_groups, of_features, of_fits, of_joint, of_kept,
    of_layers, of_pairs, of_profiles,
)  # fmt: skip


def drawing(figure: Figure) -> str:
    """The SVG text of what is drawn, before its parts are moved to make room for each other.

    With it the limits of the axes and what lies above what: also where that makes no difference.
    """
    figure.set_layout_engine("none")
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    limits = [f"{end:.6g}" for axes in figure.axes for end in (*axes.get_xlim(), *axes.get_ylim())]
    orders = [f"{artist.zorder:g}" for artist in figure.findobj()]
    return f"{stream.getvalue()}\n{' '.join(limits)}\n{' '.join(orders)}"


@pytest.mark.parametrize("drawn", DRAWN, ids=lambda drawn: drawn.__name__)
def test_figures_look_as_approved(runs: Runs, drawn: Callable[[Runs], dict[str, Figure]]) -> None:
    with style.style():
        assert_looks_approved(
            **{f"looks/{name}": drawing(figure) for name, figure in drawn(runs).items()}
        )


def test_features_are_listed_with_the_number_of_images_that_activate_them(runs: Runs) -> None:
    run = runs.pictured
    for sign in "+-":
        table = features.table(run, sign)
        assert table["sign"].unique().to_list() == [sign]
        ids = table["feature_id"].to_list()
        assert table["n_images"].to_list() == [1 + i % 5 if i % 3 == 0 else 0 for i in ids]
        assert any(i % 3 == 0 for i in ids)
        assert features.table(runs.signed, sign).is_empty()  # no pictures were made
    looked = Run(runs.signed.path, run.record, {"top_images": run.top_images})
    assert features.table(looked, "+").is_empty()


@pytest.mark.parametrize(("times", "pixels"), [(100, False), (101, True)])
def test_of_more_than_three_hundred_classes_lines_are_a_picture(
    runs: Runs, times: int, pixels: bool
) -> None:
    classes = pl.concat([runs.signed.classes] * times)
    run = Run(runs.signed.path, runs.signed.record, {"classes": classes})
    lines = counts.draw(run, "+", counts.table(runs.signed, "+")).axes[0].collections
    assert [one.get_rasterized() for one in lines] == [pixels] * 2


@pytest.mark.parametrize(("times", "alpha"), [(1, 0.6), (40, 4 / 120**0.5), (1000, 0.08)])
def test_the_more_lines_there_are_the_fainter_is_each(runs: Runs, times: int, alpha: float) -> None:
    table = counts.table(runs.signed, "+")
    rows = [*[table.filter(curve="class")] * times, table.filter(curve="mean")]
    axes = style.new_figure().subplots()
    counts._curves(axes, pl.concat(rows), many=False)
    assert [one.get_alpha() for one in axes.collections] == pytest.approx([alpha] * 2)
