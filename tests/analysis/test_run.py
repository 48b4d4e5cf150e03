from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.comparison.agreement import agreement
from fnx.analysis.comparison.table3 import table3
from fnx.analysis.distributions import Domain
from fnx.analysis.files import COLUMNS, read_table
from fnx.analysis.profiles import class_profile, feature_profile, layer_profile
from fnx.analysis.record import Kept
from fnx.analysis.summary import kept_by_class, summarize
from fnx.embedding import Embedding
from fnx.errors import DataError
from fnx.report.tables import named_top_features


def test_a_run_reads_back_what_was_written(tmp_path: Path) -> None:
    run = Run.open(str(write_run(tmp_path / "run")))
    assert (run.path, run.dataset, run.model) == (tmp_path / "run", "shapes", "tinynet")
    assert (run.statistic, run.signed) == ("ks", True)
    assert run.distances.shape == (48, 5)
    assert run.distances_random.shape == (2, 48, 5)
    assert isinstance(run.distances, np.memmap)
    assert run.n_images == 150
    assert run.images_per_class == 30
    assert run.failed["error"].to_list() == ["image file is truncated"]
    assert run.layers.height == 6
    assert run.davg["x"][0] == 0


def test_what_a_run_holds_is_not_read(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "nowhere")
    assert run.distances is runs.REAL
    assert run.features.drop("null_second_moment").equals(runs.FEATURES)
    assert (run.n_images, run.images_per_class) == (9, 3)
    assert run.failed["path"].to_list() == ["dog/9.jpg", "bird/10.jpg", "bird/11.jpg"]
    assert (run.has("layers"), run.has("network")) == (True, False)
    with pytest.raises(DataError, match=r"network\.parquet is missing"):
        _ = run.network


def test_a_run_has_the_tables_of_its_folder(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    assert (run.has("layers"), run.has("network"), run.has("strongest")) == (True, False, False)


def test_thresholds_of_a_run_are_those_of_its_signs(tmp_path: Path) -> None:
    run = runs.run(tmp_path, by_class=(0.5, 0.25, np.inf))
    assert run.kept == {
        "+": Kept(0.25, 1.0, 2.5, 0.75, 0.125),
        "-": Kept(-0.25, 0.5, 1.5, 0.5, 0.25),
    }
    assert run.threshold("-") == vars(run.kept["-"])
    assert {sign: limits.tolist() for sign, limits in run.limits.items()} == {
        "+": [0.5, 0.25, np.inf],
        "-": [-0.25] * 3,
    }
    unsigned = runs.run(tmp_path, signed=False)
    assert (run.signed, unsigned.signed) == (True, False)
    assert unsigned.threshold("-") is None
    assert list(unsigned.limits) == ["+"]


def test_a_run_is_scanned_once(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    assert run.scan is run.scan
    assert run.domain == run.scan.domain == Domain(-1, 1)
    assert run.scan.sides[0].limits.tolist() == run.limits["+"].astype(np.float32).tolist()
    assert [layer.name for layer in run.scan.layers] == ["conv1_1", "conv1_2", "fc6"]
    real, random = run.extents
    assert real.largest == np.abs(run.distances).max()
    assert random.largest == np.abs(run.distances_random).max()


def test_the_domain_is_that_of_real_and_random_labels(tmp_path: Path) -> None:
    held = {"distances": np.float32([[0.5]]), "distances_random": np.float32([[[-2.0]]])}
    assert runs.run(tmp_path, **held).domain == Domain(-2, 2)


def test_an_embedding_is_found_from_above_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/outputs/x").mkdir(parents=True)
    (tmp_path / "home/outputs/x/manifest.json").touch()
    run = runs.run(tmp_path / "home/outputs/runs/1", record={"embedding": "outputs/x"})
    assert run.embedding_path == tmp_path / "home/outputs/x"
    monkeypatch.chdir(tmp_path / "home")
    assert run.embedding_path == Path("outputs/x")
    assert runs.run(tmp_path / "elsewhere/1", record={"embedding": "y"}).embedding_path is None


def test_table_3_is_ordered_by_images_per_class(tmp_path: Path) -> None:
    several = [
        Run.open(write_run(tmp_path / name, Synthetic(dataset=name, class_sizes=sizes)))
        for name, sizes in (("many", (60, 70)), ("few", (9, 12, 10)), ("also few", (9, 12, 10)))
    ]
    table = table3(several)
    assert table["dataset"].to_list() == ["also few", "few", "many"]
    assert table["images_per_class"].to_list() == [31 / 3, 31 / 3, 65]
    assert table["run"].to_list() == [str(tmp_path / name) for name in ("also few", "few", "many")]


def test_a_row_of_table_3(tmp_path: Path) -> None:
    (row,) = table3([runs.run(tmp_path)]).to_dicts()
    assert row == {
        "dataset": "pets",
        "model": "tiny",
        "statistic": "ks",
        "images": 9,
        "classes": 3,
        "images_per_class": 3.0,
        "features": 5,
        "t_plus": 0.25,
        "davg_plus": 1.0,
        "kept_plus": 2.5,
        "kept_random_plus": 0.75,
        "t_minus": -0.25,
        "davg_minus": 0.5,
        "kept_minus": 1.5,
        "kept_random_minus": 0.5,
        "run": str(tmp_path),
    }
    (row,) = table3([runs.run(tmp_path, signed=False)]).to_dicts()
    assert [row[f"{name}_minus"] for name in ("t", "davg", "kept", "kept_random")] == [None] * 4


def test_what_is_not_a_run_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"run\.json is missing"):
        Run.open(tmp_path)
    folder = write_run(tmp_path / "run")
    (folder / "layers.parquet").unlink()
    with pytest.raises(DataError, match=r"layers\.parquet is missing"):
        _ = Run.open(folder).layers
    (folder / "classes.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"classes\.parquet: cannot be read \([^\n]+\)$"):
        _ = Run.open(folder).classes
    (folder / "run.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        Run.open(folder)


OF_SOME = {"detectors", "network", "top_images", "strongest", "strongest_images"}
TABLES = sorted(set(COLUMNS) - OF_SOME)


def everything(run: Run) -> None:
    """Read all that a run has, as show and compare do."""
    for name in TABLES:
        getattr(run, name)
    summarize(run)
    kept_by_class(run)
    feature_profile(run, 0)
    layer_profile(run, "fc6")
    class_profile(run, 1)
    named_top_features(run)
    list(agreement([run, run], ["a", "b"], [(0, 1)]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("damaged") / "run")


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


FILES = [
    "run.json",
    "distances.npy",
    "distances_random.npy",
    *(f"{name}.parquet" for name in TABLES),
]
DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut in half": lambda data: data[: len(data) // 2],
    "end missing": lambda data: data[:-7],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"hello",
    "json of others": lambda data: b'{"a": [1, {"b": null}]}',
    "list": lambda data: b"[]",
    "deep": lambda data: b"[" * 100_000,
    "zip": lambda data: b"PK\x03\x04" + data,
    "pickle": lambda data: pickle.dumps({"a": 1}),
    "ends flipped": lambda data: bytes([data[0] ^ 255, *data[1:-1], data[-1] ^ 255]),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_in_one_line(damaged: Path, name: str, damage: str) -> None:
    file = damaged / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(DataError) as caught:
        everything(Run.open(damaged))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_undamaged_run_is_read(damaged: Path) -> None:
    everything(Run.open(damaged))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_ends_in_one_line_or_in_numbers(damaged: Path, name: str) -> None:
    """In values it goes unseen; nowhere does it end in another error."""
    file = damaged / name
    data = file.read_bytes()
    rng, told = np.random.default_rng(len(data)), []
    for place in rng.integers(0, len(data), 25):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(flipped))
        try:
            everything(Run.open(damaged))
        except DataError as error:
            told.append(str(error))
    assert not [line for line in told if "\n" in line]


COLUMNS_OF_TABLES = [(name, column) for name in TABLES for column in COLUMNS[name]]


@pytest.mark.parametrize(("name", "column"), COLUMNS_OF_TABLES)
def test_a_column_that_is_missing_null_or_of_another_type_is_named(
    damaged: Path, name: str, column: str
) -> None:
    file = damaged / f"{name}.parquet"
    table, key = pl.read_parquet(file), column.rstrip("?~")
    kind = COLUMNS[name][column]
    changes = {
        f"has no column {key}": table.drop(key, strict=column[-1] != "~"),
        f"column {key} has empty cells": table.with_columns(pl.lit(None, kind).alias(key)),
        f"column {key} is of List(Struct({{'a': String}})): must be {kind.__name__}": (
            table.with_columns(pl.Series(key, [[{"a": "x"}]] * table.height))
        ),
    }
    for line, changed in changes.items():
        allowed = {"has no": "~", "column": "~?"}[line[:6]]
        changed.write_parquet(file)
        if column[-1] in allowed and "List" not in line:
            read_table(file)
            continue
        with pytest.raises(DataError, match=f"^{re.escape(f'{file}: {line}')}"):
            read_table(file)


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - set(TABLES)))
def test_tables_that_only_some_runs_have_need_their_columns(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.parquet"
    kinds = {key.rstrip("?~"): kind for key, kind in COLUMNS[name].items()}
    whole = pl.DataFrame({key: pl.Series([0, 1]).cast(kind) for key, kind in kinds.items()})
    whole.write_parquet(file)
    assert read_table(file).equals(whole)
    for key, kind in COLUMNS[name].items():
        column = key.rstrip("?~")
        whole.drop(column).write_parquet(file)
        if key.endswith("~"):
            assert read_table(file).equals(whole.drop(column))
        else:
            with pytest.raises(DataError, match=rf"\.parquet: has no column {column}$"):
                read_table(file)
        empty = whole.with_columns(pl.lit(None, kind).alias(column))
        empty.write_parquet(file)
        if key == column:
            with pytest.raises(DataError, match=rf": column {column} has empty cells$"):
                read_table(file)
        else:
            assert read_table(file).equals(empty)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        ("classes", {"class_id": 1}, "class_id must count from 0"),
        ("classes", None, "class_id must count from 0"),
        ("features", {"feature_id": pl.col("feature_id") + 1}, "feature_id must count from 0"),
        ("features", {"layer": pl.col("layer").reverse().shuffle(1)}, "must lie together"),
        ("top_features", {"feature_id": 48}, "feature_id must be below 48"),
        ("top_features", {"feature_id": -1}, "feature_id must be below 48"),
        ("top_features", {"class_id": 5}, "class_id must be below 5"),
        ("thresholds", {"sign": pl.lit("-")}, "must have the signs +, or + and -"),
        ("thresholds", {"sign": pl.col("sign").reverse()}, "must have the signs +, or + and -"),
        ("thresholds", None, "must have the signs +, or + and -"),
        ("layers", {"layer": pl.lit("x")}, "each layer of features.parquet for the sign +"),
        ("layers", {"sign": pl.lit("+")}, "each layer of features.parquet for the sign +"),
        ("layers", None, "each layer of features.parquet for the sign +"),
    ],
)
def test_a_table_that_is_not_of_the_run_is_named(
    damaged: Path, name: str, change: dict[str, Any] | None, line: str
) -> None:
    file = damaged / f"{name}.parquet"
    table = pl.read_parquet(file)
    table = table.clear() if change is None else table.with_columns(**change)
    table.cast(dict(pl.read_parquet_schema(file))).write_parquet(file)
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}: .*{re.escape(line)}"):
        getattr(Run.open(damaged), name)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i4", "c8", "f2", "?"])
def test_distances_are_float32(damaged: Path, dtype: str) -> None:
    np.save(damaged / "distances.npy", np.zeros((48, 5), dtype))
    with pytest.raises(DataError, match=r"distances\.npy: is of .*: must be float32$"):
        _ = Run.open(damaged).distances


@pytest.mark.parametrize("shape", ["(48, 5000000000000)", "(48, -5)", "(4" + "8" * 5000 + ", 5)",
                                   "(48, 5", "()", "(0, 5)"])  # fmt: skip
def test_shapes_that_a_file_cannot_have_are_refused(damaged: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    prefix = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little")
    (damaged / "distances.npy").write_bytes(prefix + header + b"\n" + bytes(48 * 5 * 4))
    with pytest.raises(DataError, match=r"distances\.npy: (cannot be read|has shape)"):
        _ = Run.open(damaged).distances


def test_distances_without_random_labels_or_with_nan_are_refused(damaged: Path) -> None:
    random = np.load(damaged / "distances_random.npy")
    np.save(damaged / "distances_random.npy", random[:0])
    with pytest.raises(DataError, match=r"distances_random\.npy: "):
        _ = Run.open(damaged).distances_random
    random[1, 7, 3] = np.nan
    np.save(damaged / "distances_random.npy", random)
    line = f"^{re.escape(str(damaged))}: distance of feature 7 and class 3 is NaN$"
    with pytest.raises(DataError, match=line):
        _ = Run.open(damaged).scan


def nested(depth: int) -> dict[str, Any]:
    """A mapping of mappings and lists in each other."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return {"a": value} if isinstance(value, list) else value


def test_a_record_may_be_as_deep_as_any_configuration(damaged: Path) -> None:
    file = damaged / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"config": nested(49)}))
    everything(Run.open(damaged))


def test_an_embedding_whose_path_cannot_be_is_gone(damaged: Path) -> None:
    file = damaged / "run.json"
    for path in ("x" * 5000, "a\0b", "run.json/x"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"embedding": path}))
        assert Run.open(damaged).embedding_path is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"dataset": "\ud800"}, "surrogates not allowed"),
        ({"neutral": float("nan")}, "neutral is nan"),
        ({"neutral": float("inf")}, "neutral is inf"),
        ({"statistic": {"name": ["ks"]}}, "statistic.name is missing"),
        ({"statistic": {}}, "statistic.name is missing"),
        ({"seed": 1.5}, "seed must be int, not float"),
        ({"config": nested(50)}, "it is nested more than 50 deep"),
    ],
)
def test_a_record_that_cannot_be_is_refused(
    damaged: Path, change: dict[str, Any], line: str
) -> None:
    file = damaged / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=rf"run\.json: cannot be read \(.*{re.escape(line)}"):
        Run.open(damaged)


def test_a_folder_that_cannot_be_looked_into_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": cannot be read \(File name too long\)$"):
        Run.open(tmp_path / ("x" * 5000))


def test_columns_that_later_versions_add_are_no_damage(damaged: Path) -> None:
    file = damaged / "thresholds.parquet"
    pl.read_parquet(file).with_columns(later=1.0).drop("spread_random").write_parquet(file)
    assert Run.open(damaged).kept["+"].spread_random is None


def test_distances_must_fit_the_tables(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for name, shape in (
        ("distances", (3, 3)),
        ("distances", (2, 48, 5)),
        ("distances_random", (48, 5)),
        ("distances_random", (2, 48, 4)),
    ):
        np.save(folder / f"{name}.npy", np.zeros(shape, np.float32))
        said = rf"{name}\.npy: has shape \(.*\); the run has 48 features and 5 classes"
        with pytest.raises(DataError, match=said):
            getattr(Run.open(folder), name)


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "distances.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"distances\.npy: cannot be read \("):
        _ = Run.open(folder).distances
    np.save(folder / "distances.npy", np.array([{}]))  # what pickle would execute
    with pytest.raises(DataError, match=r"distances\.npy: cannot be read \("):
        _ = Run.open(folder).distances
    (folder / "distances.npy").unlink()
    with pytest.raises(DataError, match=r"not a whole run of fnx \(distances\.npy is missing\)"):
        _ = Run.open(folder).distances


def test_failed_images_are_those_that_are_not_ok(tmp_path: Path) -> None:
    table = runs.images().with_columns(status=pl.lit("ok"))
    assert runs.run(tmp_path, images=table).failed.is_empty()


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Run.open(f"~/{write_run(tmp_path / 'run').name}").path == tmp_path / "run"
    with pytest.raises(DataError, match=rf"^{tmp_path}/none"):
        Embedding.open("~/none")
