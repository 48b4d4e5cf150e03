"""A whole run: every file and column it promises, and numbers that can be worked out again."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control
from tests.pages import documented_columns

import fnx
from fnx import app
from fnx.analysis import Run
from fnx.analysis.record import Counts
from fnx.commands.compare import find_runs
from fnx.config.compose import compose
from fnx.config.schema import Config
from fnx.embedding import Embedding
from fnx.errors import DataError, FnxError
from fnx.statistics.calibration import second_moment
from fnx.statistics.permutations import permutations

COLUMNS = {
    "images": "image_id path class_id class_name split status error",
    "classes": "class_id class_name n_images",
    "features": "feature_id layer unit kind constant",
    "thresholds": "sign threshold davg kept kept_random",
    "davg": "x davg_plus davg_minus",
    "advice": "entry kind depth features accuracy standard_error knn_accuracy logme recommended",
    "detectors": "class_id class_name rank feature_id layer unit sign cut D D_cal j_heldout recall "
    "false_positive_rate folds_agreeing",
    "layers": "layer sign mode low high pct_kept pct_kept_random",
    "network": "name kind filters parameters neurons features height width receptive_field stride",
    "top_features": "class_id sign rank feature_id distance p_value q_value",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_at: Callable[..., Config]) -> Run:
    folder = tmp_path_factory.mktemp("run")
    words = ("threshold.permutations=2", "report.advice=20")
    return app.run(tiny_at(folder, *words), folder / "first")


@pytest.mark.parametrize("table", COLUMNS)
def test_every_table_has_its_columns(run: Run, table: str) -> None:
    found = pl.read_parquet(run.path / f"{table}.parquet")
    assert found.columns[: len(COLUMNS[table].split())] == COLUMNS[table].split()
    assert found.height > 0


def test_every_column_and_its_type_is_in_the_reference(run: Run) -> None:
    documented = documented_columns()
    embedding = Embedding.open(run.path).path
    written = {*run.path.glob("*.parquet"), *embedding.glob("*.parquet")}
    assert len(written) > 10
    types = {
        (file.stem, name): type_name(kind)
        for file in written
        for name, kind in pl.read_parquet_schema(file).items()
    }
    known = {key: documented.get(key[0], {}).get(key[1]) for key in types}
    assert types == known


def type_name(kind: pl.DataType) -> str:
    if isinstance(kind, pl.List):
        return f"list of {type_name(kind.inner())}"
    return {"String": "text", "Boolean": "bool"}.get(str(kind), str(kind).lower())


def test_every_file_is_there(run: Run) -> None:
    names = {entry.name for entry in run.path.iterdir()}
    assert names >= {f"{table}.parquet" for table in COLUMNS}
    assert names >= {"run.json", "distances.npy", "distances_random.npy", "report.html", "figures"}
    figures = {file.name for file in (run.path / "figures").iterdir()}
    drawn = ["fig01", "fig05", "fig06", "fig09", "fig10", "features"]
    tables = ["table1", "table2", "table3"]
    for number, endings in [
        *((name, (".png", ".svg", ".csv", ".parquet")) for name in drawn),
        *((name, (".csv", ".parquet")) for name in tables),
    ]:
        for ending in endings:
            assert any(n.startswith(number) and n.endswith(ending) for n in figures), figures


def test_shapes_agree(run: Run) -> None:
    features, classes = run.features.height, run.classes.height
    assert run.distances.shape == (features, classes)
    assert run.distances_random.shape == (2, features, classes)
    assert run.distances.dtype == run.distances_random.dtype == np.float32


def test_the_distances_are_those_of_the_embedding(run: Run) -> None:
    embedding = fnx.Embedding.open(run.record.embedding)
    again = fnx.distances(embedding.features, embedding.labels, statistic="ks", bins=100)
    np.testing.assert_array_equal(run.distances, again)
    shuffled = permutations(embedding.labels, 2, run.record.seed)
    for labels, found in zip(shuffled, run.distances_random, strict=True):
        np.testing.assert_array_equal(found, fnx.distances(embedding.features, labels))


def test_each_feature_has_the_second_moment_of_its_distances_under_random_labels(run: Run) -> None:
    sizes = run.classes["n_images"].to_numpy()
    scaled = sizes * (40 - sizes) / 40 * np.array(run.distances_random, np.float64) ** 2
    np.testing.assert_allclose(run.features["null_second_moment"], scaled.mean(axis=(0, 2)))


def test_the_null_of_a_run_is_that_of_its_configuration(
    run: Run, compose: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    embedding = fnx.Embedding.open(run.record.embedding)

    def measured(*words: str) -> Any:
        return app.measure_null(embedding, run.distances_random, compose(*words))

    found = measured("calibration=bridge", "calibration.draws=20", "statistic.bins=9", "seed=3")
    null = fnx.null(embedding.features, embedding.labels, method="bridge", draws=20, seed=3, bins=9)
    np.testing.assert_array_equal(found.second_moment, null.second_moment)
    sizes = np.bincount(embedding.labels)
    around = second_moment(run.distances_random, sizes, neutral=0.5)
    np.testing.assert_array_equal(measured("statistic=auroc").second_moment, around)
    assert measured("calibration=none") is None
    assert caplog.messages == []
    assert measured("statistic=kl") is None
    assert caplog.messages == ["statistic=kl cannot be calibrated: its distances stay as they are"]


def test_the_thresholds_are_those_of_the_distances(run: Run) -> None:
    found = fnx.find_thresholds(np.array(run.distances), np.array(run.distances_random))
    plus, minus = run.record.thresholds.plus, run.record.thresholds.minus
    assert plus
    assert minus
    assert plus.threshold == pytest.approx(found.plus.threshold)
    assert minus.threshold == pytest.approx(found.minus.threshold)
    kept = (run.distances > found.plus.threshold).sum(axis=0).mean()
    kept_random = (run.distances_random > found.plus.threshold).sum(axis=1).mean()
    assert plus.kept == pytest.approx(kept)
    assert plus.kept_random == pytest.approx(kept_random)
    assert plus.davg == pytest.approx(kept - kept_random)
    table = {row["sign"]: row for row in run.thresholds.to_dicts()}
    assert table["+"]["threshold"] == pytest.approx(plus.threshold)
    assert table["-"]["davg"] == pytest.approx(minus.davg)


def test_top_features_have_exact_p_values_and_those_adjusted_for_all_pairs(run: Run) -> None:
    embedding = fnx.Embedding.open(run.record.embedding)
    null = fnx.null(embedding.features, embedding.labels, method="exact", draws=1)
    sizes = np.bincount(embedding.labels)
    p = null.p_values(run.distances, sizes)
    top = run.top_features
    listed = p[top["feature_id"].to_numpy(), top["class_id"].to_numpy()]
    np.testing.assert_allclose(top["p_value"], listed, rtol=1e-12)
    q = false_discovery_control(p.ravel()).reshape(p.shape)
    expected = q[top["feature_id"].to_numpy(), top["class_id"].to_numpy()]
    assert (top["q_value"] >= top["p_value"]).all()
    # The pairs that are not listed are compared by random labels, and so only on average.
    assert np.abs(np.log(top["q_value"].to_numpy() / expected)).mean() < 0.3


def test_the_record_tells_what_was_run(run: Run) -> None:
    record = run.record
    assert record.counts.images == 40
    assert record.counts.classes == 10
    assert record.counts.features == run.features.height
    assert record.counts.constant == run.features["constant"].sum()
    stages = "images embedding distances calibration thresholds analysis detectors advice pictures"
    assert list(record.seconds) == [*stages.split(), "report"]
    assert record.command[:3] == ["python", "-m", "fnx"]
    assert record.fnx_version == fnx.__version__
    assert record.fingerprint in record.embedding
    assert record.weights_digest == "random-0"


def test_a_run_in_memory_is_the_run_on_disk(run: Run) -> None:
    opened = Run.open(run.path)
    assert opened.record == run.record
    assert opened.advice is not None
    assert run.advice is not None
    assert opened.advice.told() == run.advice.told()
    for table in COLUMNS.keys() - {"advice"}:
        assert getattr(opened, table).equals(getattr(run, table), null_equal=True), table
    np.testing.assert_array_equal(opened.distances, run.distances)
    np.testing.assert_array_equal(opened.distances_random, run.distances_random)
    assert "scan" in vars(run)  # counted once, while it ran
    assert opened.scan.domain == run.scan.domain
    assert opened.scan.sides[1].kept.tolist() == run.scan.sides[1].kept.tolist()


def test_reference_images_are_embedded_with_crops_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def embed(images: Any, config: Config) -> tuple[Any, bool]:
        calls.append((images, config.crops.name))
        return f"{images} embedded", False

    monkeypatch.setattr(app, "embed", embed)
    words = ["crops=ten", "report.reference_crops=center"]
    own: Any = "own"
    other: Any = "other"
    found = app.extract(own, other, compose([*words, "report.reference_dataset=digits"]))
    assert found == ("own embedded", False, "other embedded")
    assert calls == [("own", "ten"), ("other", "center")]
    assert app.extract(own, other, compose(words)) == ("own embedded", False, "own embedded")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("fnx.app", "extract"),
        ("fnx.app", "measure_distances"),
        ("fnx.app", "choose_thresholds"),
        ("fnx.app", "write_tables"),
        ("fnx.app", "write_pictures"),
        ("fnx.report.figures.draw", "save_table"),
    ],
)
def test_a_run_that_is_killed_is_not_finished(
    run: Run,
    tiny_at: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    name: str,
) -> None:
    folder = run.path.parent / f"killed-{name}"
    folder.mkdir()
    shutil.copy(run.path / "run.json", folder)  # of an earlier run in the same folder
    part = import_module(module)
    stage = getattr(part, name)

    def killed(*arguments: Any, **options: Any) -> None:
        stage(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(part, name, killed)
    with pytest.raises(KeyboardInterrupt):
        app.run(tiny_at(run.path.parent, "threshold.permutations=2"), folder)
    with pytest.raises(DataError, match="not a finished run of fnx"):
        Run.open(folder)
    with pytest.raises(DataError, match="holds no finished run"):
        find_runs([str(folder)])


def test_the_space_of_the_distances_is_taken_before_they_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    monkeypatch.setattr("os.posix_fallocate", lambda _, start, size: taken.append((start, size)))
    array = app._reserve(tmp_path / "d.npy", (3, 2))
    array[:] = 0.5
    assert taken == [(0, (tmp_path / "d.npy").stat().st_size)]
    assert np.load(tmp_path / "d.npy").tolist() == [[0.5, 0.5]] * 3
    assert array.dtype == np.float32


def test_a_refused_configuration_leaves_the_earlier_run(
    run: Run, tiny_at: Callable[..., Config]
) -> None:
    with pytest.raises(FnxError, match="unknown layer"):
        app.run(tiny_at(run.path.parent, "report.pairs=[nowhere/0:1]"), run.path)
    assert Run.open(run.path).record == run.record


def test_another_statistic_reuses_the_embedding(
    run: Run,
    tiny_at: Callable[..., Config],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tiny_at(run.path.parent, "statistic=ks_exact", "report.formats=[]")
    with caplog.at_level(logging.INFO):
        second = app.run(config, run.path.parent / "second")
    assert "embedding reused" in caplog.text
    assert second.record.embedding == run.record.embedding
    assert second.record.embedding_reused
    assert (np.abs(second.distances) + 1e-6 >= np.abs(run.distances)).all()  # bins only shrink D
    said = capsys.readouterr().out
    for word in ("images", "classes", "features", "t+", "t-", "report.html"):
        assert word in said


def test_the_folder_of_a_run_opens_its_embedding_with_its_own_labels(
    run: Run, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "run"))
    other = run.images.with_columns(class_name=pl.lit("a ") + pl.col("class_name"))
    other.write_parquet(folder / "images.parquet")
    record = replace(run.record, embedding=str(run.embedding_path))
    record.write(folder)
    embedding = Embedding.open(folder)
    assert embedding.path == run.embedding_path
    assert embedding.class_names == tuple(f"a {name}" for name in run.classes["class_name"])
    assert embedding.labels.tolist() == run.images.filter(status="ok")["class_id"].to_list()
    other.head(other.height - 1).write_parquet(folder / "images.parquet")
    with pytest.raises(DataError, match=r"images.parquet does not fit the embedding"):
        Embedding.open(folder)
    replace(record, fingerprint="0").write(folder)
    with pytest.raises(DataError, match="its fingerprint is not the run's"):
        Embedding.open(folder)
    replace(record, embedding="nowhere").write(folder)
    with pytest.raises(DataError, match=r"the embedding is gone \(nowhere\)"):
        Embedding.open(folder)


def test_presence_and_absence_lie_about_the_neutral_value_of_the_statistic(
    run: Run, tiny_at: Callable[..., Config]
) -> None:
    config = tiny_at(run.path.parent, "statistic=auroc", "report=tables")
    found = app.run(config, run.path.parent / "auroc")
    assert Run.open(found.path).neutral == 0.5
    assert run.neutral == 0
    assert found.kept["+"].threshold > 0.5 > found.kept["-"].threshold
    assert found.kept["-"].kept == (found.distances < found.kept["-"].threshold).sum() / 10
    for sign, side in (("+", 1), ("-", -1)):
        assert (side * (found.layers.filter(sign=sign)["mode"].drop_nulls() - 0.5) > 0).all()
        assert (side * (found.top_features.filter(sign=sign)["distance"] - 0.5) > 0).all()
    assert (found.domain.low, found.domain.high) == (0, 1)


def folder_of_images(root: Path, classes: int, each: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for c in range(classes):
        (root / f"class{c}").mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 255, (40, 50, 3), np.uint8) // (c + 1)
            Image.fromarray(pixels).save(root / f"class{c}" / f"{i}.png")


def test_what_is_not_an_image_is_a_row_with_its_reason(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    folder_of_images(tmp_path / "pictures", 3, 4)
    (tmp_path / "pictures" / "class1" / "2.png").write_text("no picture")
    config = tiny("dataset=folder", f"dataset.root={tmp_path}/pictures", "report=tables")
    run = app.run(config, tmp_path / "run")
    assert replace(run.record.counts, features=0, constant=0) == Counts(11, 1, 3, 0, 0)
    (failed,) = run.images.filter(pl.col("status") == "failed").to_dicts()
    assert failed["path"] == "class1/2.png"
    assert failed["error"]
    assert run.classes["n_images"].to_list() == [4, 3, 4]


def test_it_stops_before_extraction_when_asked_to(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    folder_of_images(tmp_path / "pictures", 2, 2)
    (tmp_path / "pictures" / "class1" / "0.png").write_bytes(b"")
    config = tiny("dataset=folder", f"dataset.root={tmp_path}/pictures", "dataset.on_error=raise")
    with pytest.raises(DataError, match=r"class1/0\.png"):
        app.run(config, tmp_path / "run")
    assert not list(tmp_path.rglob("features.zarr"))


def test_a_csv_logger_leaves_the_scalars(tiny: Callable[..., Config], tmp_path: Path) -> None:
    run = app.run(tiny("logger=csv", "report=tables"), tmp_path / "run")
    lines = (run.path / "metrics.csv").read_text()
    assert f"{run.record.thresholds.plus.threshold}"[:5] in lines


def test_run_json_is_json_and_whole(run: Run) -> None:
    record = json.loads((run.path / "run.json").read_text())
    assert record["config"]["dataset"]["name"] == "digits"


def test_dask_gives_the_same_bits(run: Run, tiny_at: Callable[..., Config]) -> None:
    words = ("threshold.permutations=2", "engine=dask", "engine.workers=2", "report=tables")
    again = app.run(tiny_at(run.path.parent, *words), run.path.parent / "dask")
    np.testing.assert_array_equal(again.distances, run.distances)
    np.testing.assert_array_equal(again.distances_random, run.distances_random)


def test_thresholds_of_each_class_are_beside_their_class(
    run: Run, tiny_at: Callable[..., Config]
) -> None:
    import fnx_fdr  # noqa: F401 - a plugin that has a threshold for each class

    words = ("threshold=benjamini_hochberg", "statistic=ks_exact", "report=tables")
    found = app.run(tiny_at(run.path.parent, *words), run.path.parent / "fdr")
    embedding = fnx.Embedding.open(found.record.embedding)
    null = fnx.null(
        embedding.features, embedding.labels, statistic="ks_exact", method="exact", draws=1
    )
    again = fnx.find_thresholds(
        np.array(found.distances),
        np.array(found.distances_random),
        strategy="benjamini_hochberg",
        class_sizes=np.bincount(embedding.labels),
        null=null,
        range=(-1, 1),
    )
    np.testing.assert_array_equal(found.classes["t_plus"], again.plus.by_class)
    limits = found.classes["t_plus"].to_numpy().astype(np.float32)
    kept = (found.distances > limits).sum(axis=0).mean()
    assert found.record.thresholds.plus.kept == pytest.approx(kept)
    assert run.classes["t_plus"].n_unique() == 1
