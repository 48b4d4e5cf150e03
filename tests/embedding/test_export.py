"""Features of a run for other tools: which are chosen, what a file holds, and reading back."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import polars as pl
import pyarrow.parquet as parquet
import pytest
from scipy import sparse
from tests.analysis.runs import CLASSES, SIZES, run

import fnx
from fnx.analysis import Run
from fnx.commands.export import main
from fnx.config.schema import DatasetConfig
from fnx.embedding import table as tables
from fnx.embedding import table_files
from fnx.embedding.table import Table, choose_features
from fnx.embedding.table_files import write_table
from fnx.errors import ConfigError, DataError

NAMES = ["conv/0", "conv/1", "conv/2", "fc/5", "fc/7"]
VALUES = np.random.default_rng(0).normal(size=(sum(SIZES), 5)).astype(np.float32)
LABELS = np.repeat(CLASSES, SIZES)
ABOUT = ["image_id", "path", "class_id", "class_name", "status"]


@pytest.fixture
def made(tmp_path: Path) -> Run:
    embedding = fnx.Embedding.from_array(VALUES, LABELS, feature_names=NAMES)
    return run(tmp_path / "run", embedding=embedding)


@pytest.mark.parametrize(
    ("select", "layers", "expected"),
    [
        ("kept", None, [0, 1, 3, 4]),
        ("all", None, [0, 1, 2, 3, 4]),
        (2, None, [3, 4]),
        (3, None, [1, 3, 4]),
        (1, None, [3]),  # of two equal ones the first
        (1, "conv", [1]),
        ("kept", "c*", [0, 1]),
        ("all", ["fc", "conv"], [0, 1, 2, 3, 4]),
    ],
)
def test_which_features(made: Run, select: Any, layers: Any, expected: list[int]) -> None:
    found = choose_features(made, select, layers)
    assert found["feature_id"].to_list() == expected
    assert found["name"].to_list() == [NAMES[f] for f in expected]


def test_a_threshold_of_each_class_is_that_of_the_class(tmp_path: Path) -> None:
    own = run(tmp_path, by_class=(0.5, np.inf, np.inf), record={"neutral": 0.0})
    # Above 0.5 for the first class: fc/5 alone; below -0.25 for any: conv/0, conv/1, fc/7.
    assert choose_features(own, "kept")["feature_id"].to_list() == [0, 1, 3, 4]
    unsigned = run(tmp_path, by_class=(0.5, np.inf, 0.75), signed=False)
    assert choose_features(unsigned, "kept")["feature_id"].to_list() == [1, 3, 4]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"layers": "fcc"}, r"^unknown layer 'fcc' \(did you mean 'fc'\?\); allowed: conv, fc$"),
        ({"layers": ["conv", "x*"]}, r"^unknown layer 'x\*'"),
        ({"features": 6}, "^features=6: must lie in 1 … 5, the number there is$"),
        ({"features": 4, "layers": "conv"}, "^features=4: must lie in 1 … 3"),
        ({"features": 0}, "^features=0: must lie in 1 … 5"),
        ({"features": True}, "^features=True: must be kept, all, or a number of features$"),
        ({"features": "best"}, "^features='best': must be kept"),
    ],
)
def test_what_is_not_there_is_refused(made: Run, keys: dict[str, Any], line: str) -> None:
    with pytest.raises((ConfigError, DataError), match=line):
        fnx.export(made, **keys)


def test_a_run_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    none = run(tmp_path, distances=np.full((5, 3), 0.25, np.float32))
    with pytest.raises(DataError, match="none of 5 features is kept for any class"):
        fnx.export(none)


def test_the_table_has_what_is_known_of_each_image_that_was_used(made: Run) -> None:
    found = fnx.export(made)
    assert found.columns == [*ABOUT, "conv/0", "conv/1", "fc/5", "fc/7"]
    assert found.height == sum(SIZES)
    assert found["class_name"].to_list() == LABELS.tolist()
    assert found["path"][0] == "cat/0.jpg"
    np.testing.assert_array_equal(found[:, 5:].to_numpy(), VALUES[:, [0, 1, 3, 4]])
    assert set(found.dtypes[5:]) == {pl.Float32}


@pytest.mark.parametrize("kind", ["sparse", "wide", "lazy"])
def test_blocks_are_put_together_in_order(
    made: Run, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tables, "_VALUES_AT_ONCE", 4 * 5)  # 4 rows of 5 features
    given: Any = {
        "sparse": sparse.csr_matrix(VALUES),
        "wide": VALUES.astype(np.float64),
        "lazy": pl.DataFrame(VALUES, NAMES).lazy(),
    }[kind]
    names = None if kind == "lazy" else NAMES
    vars(made)["embedding"] = fnx.Embedding.from_array(given, LABELS, feature_names=names)
    np.testing.assert_array_equal(fnx.export(made, features="all")[:, 5:].to_numpy(), VALUES)
    for name in ("t.csv", "t.parquet", "t.npz"):
        fnx.export(made, tmp_path / name)
    kept = VALUES[:, [0, 1, 3, 4]]
    found = pl.read_parquet(tmp_path / "t.parquet")
    np.testing.assert_array_equal(found[:, 5:].to_numpy(), kept)
    assert found["path"].to_list() == [f"{c}/{i}.jpg" for i, c in enumerate(LABELS)]
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == found.columns
    np.testing.assert_array_equal(np.array([row[5:] for row in rows[1:]], np.float32), kept)
    with np.load(tmp_path / "t.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["features"], kept)
        assert stored["features"].dtype == (np.float64 if kind == "wide" else np.float32)
        assert stored["feature_names"].tolist() == found.columns[5:]
        assert stored["class_name"].tolist() == LABELS.tolist()


def test_no_text_is_a_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    held = [["=1+1"], [], ["@x"]] * 3
    embedding = fnx.Embedding.from_array(VALUES, held, feature_names=NAMES)
    own = run(tmp_path / "run", embedding=embedding, images=embedding.images)
    lines = fnx.export(own, tmp_path / "t.csv", features=1).read_text().splitlines()
    assert "'=1+1,'@x" in lines[0]
    assert lines[1].split(",")[2] == "'=1+1"


def test_an_anndata_file_is_what_scanpy_reads(made: Run, tmp_path: Path) -> None:
    data = anndata.read_h5ad(fnx.export(made, tmp_path / "t.h5ad"))
    np.testing.assert_array_equal(data.X, VALUES[:, [0, 1, 3, 4]])
    assert data.obs_names[4] == "dog/4.jpg"
    assert data.obs["class_name"].dtype == "category"
    assert data.obs["class_name"].tolist() == LABELS.tolist()
    assert data.var_names.tolist() == ["conv/0", "conv/1", "fc/5", "fc/7"]
    assert data.var["layer"].tolist() == ["conv", "conv", "fc", "fc"]
    assert data.var["unit"].tolist() == [0, 1, 5, 7]


@pytest.mark.parametrize("ending", ["parquet", "npz", "h5ad"])
def test_the_file_is_an_array_that_fnx_reads(made: Run, tmp_path: Path, ending: str) -> None:
    file = fnx.export(made, tmp_path / f"t.{ending}", features="all")
    config: Any = {"file": str(file), "labels": "class_name"}
    found = fnx.Embedding.read_array(DatasetConfig("a", "array", **config))
    np.testing.assert_array_equal(found.to_polars().to_numpy(), VALUES)
    assert found.to_polars().columns == NAMES
    assert found.layers == ("conv", "fc")
    assert [found.class_names[c] for c in found.labels] == LABELS.tolist()
    assert found.images["path"][4] == "dog/4.jpg"


@pytest.mark.parametrize("ending", ["parquet", "npz", "h5ad"])
def test_concepts_are_columns_of_true_and_false(tmp_path: Path, ending: str) -> None:
    held = [["red", "path"], ["red"], [], ["path"], ["red"], [], [], ["red"], ["path", "red"]]
    embedding = fnx.Embedding.from_array(VALUES, held, feature_names=NAMES)
    own = run(tmp_path / "run", embedding=embedding, images=embedding.images)
    found = fnx.export(own, features=2)
    assert found.columns[-4:] == ["red", "concept path", "fc/5", "fc/7"]
    assert found["red"].to_list() == ["red" in one for one in held]
    assert found["concept path"].to_list() == ["path" in one for one in held]
    file = str(fnx.export(own, tmp_path / f"t.{ending}", features=2))
    config: Any = {"file": file, "labels": file, "concept_columns": ["red", "concept*"]}
    again = fnx.Embedding.read_array(DatasetConfig("a", "array", **config))
    np.testing.assert_array_equal(again.labels, embedding.labels)
    np.testing.assert_array_equal(again.to_polars().to_numpy(), VALUES[:, 3:])


def test_rows_without_values_are_null_and_keep_their_place(tmp_path: Path) -> None:
    embedding = fnx.Embedding.from_array(VALUES, LABELS, feature_names=NAMES)
    about = pl.DataFrame({"path": ["a", "b", "a"]})
    features = choose_features(run(tmp_path), 2)
    table = Table(about, np.array([7, -1, 2]), embedding, features)
    expected = [VALUES[7, 3], None, VALUES[2, 3]]
    assert table.frame()["fc/5"].to_list() == expected
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[2] == "b,,"
    none = Table(about, np.array([-1, -1, -1]), None, features)
    assert none.frame()["fc/7"].to_list() == [None] * 3
    for ending in ("npz", "h5ad"):
        write_table(none, tmp_path / f"t.{ending}")
    assert anndata.read_h5ad(tmp_path / "t.h5ad").obs_names.tolist() == ["0", "1", "2"]


def test_a_file_is_replaced_only_when_asked_and_whole_or_not_at_all(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = fnx.export(made, tmp_path / "t.csv", features=1)
    before = file.read_text()
    with pytest.raises(DataError, match=r"t.csv is there already: --force \(overwrite=True\)"):
        fnx.export(made, file)

    def fails(self: Table) -> Any:
        yield pl.DataFrame({"a": [1]})
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Table, "frames", fails)
        with pytest.raises(OSError, match="No space"):
            fnx.export(made, file, overwrite=True)
    assert file.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]
    fnx.export(made, file, overwrite=True)
    assert file.read_text() != before


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("t.xlsx", r"t.xlsx: the name must end with .csv, .parquet, .npz, .h5ad$"),
        ("none/t.csv", r"none/t.csv: no such folder as .*none$"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_first(
    made: Run, tmp_path: Path, name: str, line: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=line):
        fnx.export(made, tmp_path / name)


def test_an_extra_that_is_missing_is_named(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"anndata is not installed: pip install 'fnx-features\["):
        fnx.export(made, tmp_path / "t.h5ad")


def test_the_command(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "open", classmethod(lambda cls, path: made))
    file = tmp_path / "t.parquet"
    words = ["RUN", "--to", str(file), "--layers", "conv", "fc", "--features"]
    main([*words, "3"])
    assert capsys.readouterr().out == f"{file}: 9 images, 3 features\n"
    assert pl.read_parquet(file).columns == [*ABOUT, "conv/1", "fc/5", "fc/7"]
    main([*words, "all", "--force"])
    assert pl.read_parquet(file).width == 10
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no finished run below outputs/"):
        main(["last", "--to", "t.csv"])
    with pytest.raises(SystemExit, match="2"):
        main([*words, "some"])
    assert "'some' is not kept, all, or a number of features" in capsys.readouterr().err


# What is written never ends.
ENDLESS = """
import sys, time
from pathlib import Path
from tests.embedding.test_export import LABELS, NAMES, VALUES, Run, Table, fnx, run
from fnx.cli import command

folder = Path(sys.argv[1])
embedding = fnx.Embedding.from_array(VALUES, LABELS, feature_names=NAMES)
made = run(folder / "run", embedding=embedding)
Run.open = classmethod(lambda cls, path: made)
block = Table.frames

def frames(table):
    while True:
        yield from block(table)
        print("written", flush=True)
        time.sleep(0.05)

Table.frames = frames
command("export", ["RUN", "--to", str(folder / sys.argv[2])])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_nothing_is_left_of_what_was_interrupted(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == "written\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert (process.returncode, said) == (128 + number, f"fnx export: {word}\n")
    assert not list(tmp_path.iterdir())


def test_a_parquet_file_holds_rows_in_groups(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a group is in memory whole."""
    monkeypatch.setattr(table_files, "_VALUES_IN_GROUP", 4 * 10)  # 4 rows of all columns
    monkeypatch.setattr(tables, "_VALUES_AT_ONCE", 3 * 5)
    file = parquet.ParquetFile(fnx.export(made, tmp_path / "t.parquet", features="all"))
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [4, 4, 1]
    np.testing.assert_array_equal(pl.read_parquet(tmp_path / "t.parquet")[:, 5:], VALUES)
