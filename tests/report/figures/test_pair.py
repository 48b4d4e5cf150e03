"""Figure 1: the drawn curves are those that the statistic compared."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.report.looks import assert_looks_approved
from tests.report.synthetic import Synthetic, write_run

import fnx
from fnx import app
from fnx.analysis import Run, tables
from fnx.analysis.pairs import find_pair, top_pair
from fnx.config.schema import Config, ReportConfig
from fnx.embedding.store import Manifest, create, finish, write_shard
from fnx.errors import ConfigError
from fnx.report import write_report
from fnx.report.figures import pair as pair_figure
from fnx.report.figures import style


def with_embedding(folder: Path, statistic: dict[str, Any]) -> Run:
    """A run whose distances are those of an embedding with a planted feature, 7 for class 2."""
    run = Run.open(write_run(folder / "run", Synthetic()))
    rng = np.random.default_rng(3)
    labels = run.images.filter(status="ok")["class_id"].to_numpy()
    values = np.maximum(rng.normal(0, 1, (labels.size, 48)), 0).astype(np.float32)
    values[:, 7] += 2 * rng.random(labels.size, np.float32) * (labels == 2)
    values[:, 9] *= labels != 1
    place = folder / "outputs/embeddings/x"
    manifest = Manifest("0123456789abcdef", {}, labels.size, 48, 64)
    create(place, manifest, run.images, run.features)
    for shard in range(manifest.n_shards):
        rows = manifest.shard_rows(shard)
        write_shard(place, manifest, shard, values[rows.start : rows.stop])
    finish(place, manifest)
    parameters = {key: value for key, value in statistic.items() if key != "name"}
    distances = fnx.distances(values, labels, statistic=statistic["name"], **parameters)
    np.save(run.path / "distances.npy", distances)
    tables.top_features_table(distances, 3).write_parquet(run.path / "top_features.parquet")
    embedding = "outputs/embeddings/x"
    replace(run.record, statistic=statistic, embedding=embedding).write(run.path)
    return Run.open(run.path)


def column(run: Run, feature: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and labels of one feature."""
    embedding = fnx.Embedding.open(run.path.parent / "outputs/embeddings/x")
    return np.asarray(embedding.features[:, feature], np.float64), embedding.labels


@pytest.mark.parametrize(
    "statistic",
    [{"name": "ks", "bins": 100}, {"name": "ks", "bins": 7}, {"name": "ks_exact"}],
    ids=str,
)
def test_the_line_is_as_long_as_the_distance(tmp_path: Path, statistic: dict[str, Any]) -> None:
    run = with_embedding(tmp_path, statistic)
    strongest = top_pair(run)
    assert strongest is not None
    assert (strongest.feature_id, strongest.class_id) == (7, 2)
    assert run.distances[7, 2] == run.distances.max()
    layer, unit = run.features.filter(feature_id=9).select("layer", "unit").row(0)
    for chosen, feature, class_id in ((None, 7, 2), (f"{layer}/{unit}:class 1", 9, 1)):
        table = pair_figure.table(run, chosen)
        assert table is not None
        values, labels = column(run, feature)
        inner, outer = values[labels == class_id], values[labels != class_id]

        edges = np.linspace(values.min(), values.max(), statistic.get("bins", 100) + 1)
        density = table.filter(curve="density")
        np.testing.assert_allclose(density["x"], edges[:-1])
        np.testing.assert_allclose(density["inner"], np.histogram(inner, edges, density=True)[0])
        np.testing.assert_allclose(density["outer"], np.histogram(outer, edges, density=True)[0])

        cumulative = table.filter(curve="cumulative")
        if "bins" in statistic:
            points = edges[1:-1]  # at an inner edge the value itself belongs to the bin above
            for name, part in (("inner", inner), ("outer", outer)):
                below = [(part < x).mean() for x in points]
                np.testing.assert_allclose(cumulative[name][1:-1], below)
        else:
            for name, part in (("inner", inner), ("outer", outer)):
                at_most = [(part <= x).mean() for x in cumulative["x"]]
                np.testing.assert_allclose(cumulative[name], at_most)
        difference = (cumulative["outer"] - cumulative["inner"]).to_numpy()
        distance = run.distances[feature, class_id]
        assert np.abs(difference).max() == pytest.approx(abs(distance), abs=1e-6)
        assert table["distance"].unique().to_list() == [pytest.approx(distance)]
        assert distance < 0 or chosen is None

        with style.style():
            line = pair_figure.draw(run, table).axes[1].lines[2]
        at, (low, high) = line.get_xdata()[0], line.get_ydata()
        assert high - low == pytest.approx(distance, abs=1e-6)
        assert at in cumulative["x"].to_list()


def test_other_statistics_show_densities_and_the_value(tmp_path: Path) -> None:
    run = with_embedding(tmp_path, {"name": "kl", "bins": 100, "epsilon": 1e-10})
    table = pair_figure.table(run)
    assert table is not None
    with style.style():
        figure = pair_figure.draw(run, table)
        svg = style.svg(figure)
    assert len(figure.axes) == 1
    assert f"D = {run.distances.max():.3f}" in svg
    assert "unit of activation" in svg
    assert_looks_approved(fig01_densities=svg)


def test_without_the_embedding_the_kept_numbers_are_drawn_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = with_embedding(tmp_path, {"name": "ks", "bins": 100})
    write_report(run, ReportConfig(formats=["svg"]))
    drawing = (run.path / "figures/fig01_pair.svg").read_text()
    assert_looks_approved(fig01_pair=drawing)
    assert "<text" in drawing
    assert "shapes" in drawing
    shutil.rmtree(tmp_path / "outputs")
    again = pair_figure.table(run)
    assert again is not None
    with style.style():
        assert style.svg(pair_figure.draw(run, again)) == drawing
    with caplog.at_level(logging.WARNING):
        assert pair_figure.table(run, "conv1_1/0:class 0") is None
    assert "no Figure 1, which needs the values of the embedding" in caplog.text


def test_an_embedding_of_another_run_is_not_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = with_embedding(tmp_path, {"name": "ks", "bins": 100})
    other = Run(run.path, replace(run.record, fingerprint="another"))
    with caplog.at_level(logging.WARNING):
        assert pair_figure.table(other) is None
    assert "its fingerprint is not the run's" in caplog.text


def test_noise_alone_has_no_top_pair(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    run.top_features.clear().write_parquet(run.path / "top_features.parquet")
    assert top_pair(Run.open(run.path)) is None
    assert pair_figure.table(Run.open(run.path)) is None


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("conv1_1", "must be LAYER/UNIT:CLASS"),
        ("conv1_1/x:class 0", "must be LAYER/UNIT:CLASS"),
        ("conv1_1/3:", "must be LAYER/UNIT:CLASS"),
        ("conv1_9/3:class 0", r"report.pair: unknown layer 'conv1_9'.*conv1_1"),
        ("conv1_1/12:class 0", "conv1_1 has units 0 to 11"),
        ("conv1_1/11:clas 0", r"report.pair: unknown class 'clas 0'.*did you mean 'class 0'"),
    ],
)
def test_a_pair_that_is_not_there_is_refused_by_name(
    finished: Path, pair: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        find_pair(Run.open(finished), pair)


def test_the_pair_is_checked_before_the_long_work(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"report.pair=conv: must be"):
        app.run(tiny("report.pair=conv"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"report.pair: unknown layer 'nowhere'"):
        app.run(tiny("report.pair=nowhere/0:1"), tmp_path / "run")
    assert not (tmp_path / "outputs/embeddings").exists() or not list(
        (tmp_path / "outputs/embeddings").glob("*/manifest.json")
    )


def test_a_run_draws_the_pair_that_was_asked_for(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    config = tiny("report.pair=conv1.0/3:7", "report.formats=[svg]", "model.layers=[conv1.0]")
    run = app.run(config, tmp_path / "run")
    table = pl.read_parquet(run.path / "figures/fig01_pair.parquet")
    row = table.row(0, named=True)
    assert (row["layer"], row["unit"], row["class_name"]) == ("conv1.0", 3, "7")
    edf = table.filter(curve="cumulative")
    difference = (edf["outer"] - edf["inner"]).to_numpy()
    assert np.abs(difference).max() == pytest.approx(abs(run.distances[3, 7]), abs=1e-6)

    shutil.rmtree(run.record.embedding)  # then the table of the earlier report is taken
    again, kept = Run.open(run.path), run.path / "figures/fig01_pair.parquet"
    assert pair_figure.table(again, "conv1.0/3:7").equals(table)
    assert pair_figure.table(again, "conv1.0/3:6") is None
    for content in (kept.read_bytes()[:99], b""):
        kept.write_bytes(content)
        assert pair_figure.table(again, "conv1.0/3:7") is None
