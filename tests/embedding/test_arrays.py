"""Any array with labels as an embedding: what is taken, what is refused, and a whole run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import zarr
from scipy import sparse
from tests.pages import blocks

import fnx
from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, FnxError
from fnx.statistics.columns import open_columns

N, F = 60, 6
RNG = np.random.default_rng(0)
VALUES = np.where(RNG.random((N, F)) < 0.5, 0, RNG.normal(size=(N, F))).astype(np.float32)
LABELS = np.array(["cat", "dog", "ant"])[np.arange(N) % 3]
NAMES = [f"gene{i}" for i in range(F)]


def values_of(embedding: fnx.Embedding) -> Any:
    return np.stack([embedding.column(i) for i in range(F)], axis=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "c.npy", VALUES)
    np.save(folder / "f.npy", np.asfortranarray(VALUES))
    np.savez(folder / "two.npz", other=VALUES * 2, mine=VALUES)
    np.savez_compressed(folder / "one.npz", VALUES)
    sparse.save_npz(folder / "sparse.npz", sparse.csr_matrix(VALUES))
    zarr.save_array(folder / "v.zarr", VALUES)
    table = pl.DataFrame(VALUES, NAMES).with_columns(
        kind=pl.Series(LABELS), fold=np.arange(N) // 2, text=pl.Series([f"t{i}" for i in range(N)]),
        tall=np.arange(N) % 2 == 0, small=np.arange(N) % 5 == 0,
    )  # fmt: skip
    table.write_parquet(folder / "table.parquet")
    table.select("kind", "fold", "text", "tall", "small").write_csv(folder / "labels.csv")
    np.save(folder / "labels.npy", LABELS)
    np.save(folder / "concepts.npy", np.stack([table["tall"], table["small"]], axis=1))
    (folder / "labels.txt").write_text("\n".join(LABELS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # AnnData writes no texts as pandas 3 holds them
        with pd.option_context("future.infer_string", False):
            obs = pd.DataFrame({"kind": pd.Categorical(LABELS)}, [f"cell{i}" for i in range(N)])
            data = anndata.AnnData(sparse.csr_matrix(VALUES), obs, pd.DataFrame(index=NAMES))
            data.obsm["X_pca"], data.layers["twice"] = VALUES[:, :2], VALUES * 2
            data.write_h5ad(folder / "cells.h5ad")
    return folder


def read(folder: Path, file: str, labels: str, **keys: Any) -> fnx.Embedding:
    own = folder / labels
    given = str(own) if own.is_file() else labels
    known: Any = {"file": str(folder / file), "labels": given} | keys
    return fnx.Embedding.read_array(DatasetConfig("a", "array", **known))


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("c.npy", {}), ("f.npy", {}), ("two.npz", {"array": "mine"}), ("one.npz", {}),
        ("sparse.npz", {}), ("v.zarr", {}), ("table.parquet", {"groups": "fold"}),
        ("cells.h5ad", {}),
    ],
)  # fmt: skip
def test_every_kind_of_file_gives_the_same_values(
    files: Path, file: str, keys: dict[str, str]
) -> None:
    labels = "kind" if file in ("table.parquet", "cells.h5ad") else "labels.npy"
    found = read(files, file, labels, **keys)
    np.testing.assert_array_equal(values_of(found), VALUES)
    assert found.class_names == ("ant", "cat", "dog")
    assert [found.class_names[c] for c in found.labels] == LABELS.tolist()
    if "npy" in file or file == "two.npz":
        assert isinstance(found.features, np.memmap)
    assert hasattr(found.features, "toarray") == (file in ("sparse.npz", "cells.h5ad"))
    named = "name" in found.feature_table.columns
    assert named == (file in ("table.parquet", "cells.h5ad"))
    if named:
        assert found.feature_table["name"].to_list() == NAMES
        assert found.images["path"][1] == ("row 1" if file == "table.parquet" else "cell1")
    if file == "table.parquet":
        assert found.images.select("text", "group").row(3) == ("t3", "1")


@pytest.mark.parametrize("labels", ["labels.csv", "labels.txt", "labels.npy"])
def test_labels_come_from_a_file(files: Path, labels: str) -> None:
    keys: Any = {"label_column": "kind", "groups": "fold"} if labels == "labels.csv" else {}
    found = read(files, "c.npy", labels, **keys)
    assert [found.class_names[c] for c in found.labels] == LABELS.tolist()
    assert ("group" in found.images.columns) == (labels == "labels.csv")


def test_concepts_come_from_columns_tables_and_cells(files: Path) -> None:
    expected = np.stack([np.arange(N) % 2 == 0, np.arange(N) % 5 == 0], axis=1)
    for labels, keys, names in (
        ("labels.csv", {"concept_columns": ["tall", "s*l"]}, ("tall", "small")),
        ("concepts.npy", {}, ("0", "1")),
    ):
        found = read(files, "c.npy", labels, **keys)
        assert found.class_names == names
        np.testing.assert_array_equal(found.labels, expected)
    joined = ["|".join(np.array(["tall", "small"])[row]) for row in expected]
    (files / "joined.txt").write_text("\n".join(joined) + "\n")
    found = read(files, "c.npy", "joined.txt", label_separator="|")
    np.testing.assert_array_equal(found.labels, expected)
    assert found.images["class_name"].to_list()[:2] == ["tall | small", None]


def test_one_array_of_an_h5ad_file(files: Path) -> None:
    assert read(files, "cells.h5ad", "kind", array="obsm/X_pca").manifest.features == 2
    twice = read(files, "cells.h5ad", "kind", array="layers/twice")
    np.testing.assert_array_equal(values_of(twice), VALUES * 2)


@pytest.mark.parametrize(
    "same",
    [
        VALUES, VALUES.tolist(), sparse.csr_matrix(VALUES), torch.from_numpy(VALUES),
        pd.DataFrame(VALUES), pl.DataFrame(VALUES),
    ],
    ids=["numpy", "lists", "csr", "torch", "pandas", "polars"],
)  # fmt: skip
def test_arrays_of_any_library(same: Any) -> None:
    found = fnx.Embedding.from_array(same, LABELS)
    np.testing.assert_array_equal(values_of(found), VALUES)
    np.testing.assert_array_equal(found.layer(found.layers[0]), VALUES)


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(LABELS), pd.Categorical(LABELS), pl.Series(LABELS), LABELS.tolist(),
        [[name] for name in LABELS], LABELS.astype(object),
    ],
)  # fmt: skip
def test_labels_of_any_library(labels: Any) -> None:
    found = fnx.Embedding.from_array(VALUES, labels)
    assert [found.class_names[c] for c in found.labels] == LABELS.tolist()


def test_integers_stay_in_their_order() -> None:
    found = fnx.Embedding.from_array(VALUES, np.array([10, 9, 2])[np.arange(N) % 3])
    assert found.class_names == ("2", "9", "10")


def test_an_anndata_brings_its_names(files: Path) -> None:
    data = anndata.read_h5ad(files / "cells.h5ad")
    found = fnx.Embedding.from_array(data, "kind")
    assert found.feature_table["name"].to_list() == NAMES
    assert found.images["path"][2] == "cell2"
    with pytest.raises(DataError, match="labels: obs has no column 'knd'; it has kind"):
        fnx.Embedding.from_array(data, "knd")


def test_layers_and_units_come_from_names_and_tables(files: Path) -> None:
    names = ["a.1/0", "a.1/3", "b/2", "b/1", "b/0", "c/9"]
    by_name = fnx.Embedding.from_array(VALUES, LABELS, feature_names=names)
    layers, units = by_name.feature_table["layer"], by_name.feature_table["unit"]
    assert [f"{a}/{b}" for a, b in zip(layers, units, strict=True)] == names
    assert "name" not in by_name.feature_table.columns
    pl.DataFrame({"layer": layers, "unit": units}).write_csv(files / "features.csv")
    from_table = read(files, "c.npy", "labels.npy", feature_table=str(files / "features.csv"))
    assert from_table.feature_table.equals(by_name.feature_table)
    assert from_table.manifest.fingerprint == by_name.manifest.fingerprint
    given = fnx.Embedding.from_array(VALUES, LABELS, layers=list("aabbbc"), feature_names=NAMES)
    assert given.feature_table.row(3) == (3, "b", 1, "other", "gene3")
    assert given.layer("b").shape == (N, 3)


def test_an_array_is_known_by_its_content() -> None:
    known = fnx.Embedding.from_array(VALUES, LABELS).manifest.fingerprint
    assert fnx.Embedding.from_array(VALUES.copy(), LABELS[::-1]).manifest.fingerprint == known
    changed = VALUES.copy()
    changed[5, 5] += 1
    for other in (changed, VALUES.astype(np.float64), VALUES.reshape(2 * N, F // 2)):
        labels = np.resize(LABELS, len(other))
        assert fnx.Embedding.from_array(other, labels).manifest.fingerprint != known


def broken(row: int, column: int, value: float) -> Any:
    found = VALUES.copy()
    found[row, column] = value
    return found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": broken(7, 2, np.nan)}, "row 7, column 2 (features/2) is missing or nan: ev"),
        ({"features": np.asfortranarray(broken(7, 2, np.inf))}, "row 7, column 2 (features/2) is "),
        ({"features": sparse.csr_matrix(broken(7, 2, np.nan))}, "row 7, column 2 (features/2) is "),
        ({"features": pl.DataFrame({"x": [1.0, None], "y": [0.0, 1.0]}), "labels": ["a", "b"]},
         "row 1, column 0 (x) is missing or nan"),
        ({"labels": LABELS[:50]}, "labels for 50 rows, features of 60: must be the same number"),
        ({"labels": [None, *LABELS[1:]]}, "labels: row 0 has none (None): leave such rows out"),
        ({"labels": ["a"] * N}, "labels have 1 class: a distance needs at least 2"),
        ({"labels": np.arange(N) / 2}, "labels are float: must be integers or texts"),
        ({"labels": pl.DataFrame({"a": [2] * N, "b": [1] * N})}, "row 0, column 'a' is 2"),
        ({"labels": np.zeros((N, 2), bool)}, "labels: no row has '0': leave that column out"),
        ({"layers": list("abbbab")}, "layers: the features of a layer must lie together"),
        ({"layers": list("ab")}, "layers: 2 for 6: must be one for each"),
        ({"feature_names": ["a"] * F}, "feature_names: 'a' occurs more than once"),
        ({"groups": [None, *range(N - 1)]}, "groups: row 0 is in none"),
        ({"texts": ["a"]}, "texts: 1 for 60: must be one for each"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        fnx.Embedding.from_array(**({"features": VALUES, "labels": LABELS} | given))


@pytest.mark.parametrize(
    ("file", "labels", "keys", "message"),
    [
        ("c.npy", "knd", {}, "dataset.labels=knd: no such file"),
        ("table.parquet", "knd", {}, "no such file, nor a column of it: kind, text, tall"),
        ("table.parquet", "kind", {"groups": "fol"}, "unknown dataset.groups 'fol'"),
        ("two.npz", "labels.npy", {}, "dataset.array is missing: choose one of mine, other"),
        ("two.npz", "labels.npy", {"array": "min"}, "unknown dataset.array 'min' (did you mean 'm"),
        ("cells.h5ad", "kind", {"array": "obsm/no"}, "unknown dataset.array 'obsm/no'"),
        ("c.npy", "labels.csv", {"label_column": "knd"}, "unknown dataset.label_column 'knd'"),
        ("c.npy", "labels.csv", {"concept_columns": ["kind"]}, "row 0, column 'kind' is 'cat': co"),
        ("c.npy", "labels.csv", {"concept_columns": ["x*"]}, "unknown dataset.concept_columns"),
        ("labels.txt", "labels.npy", {}, "must be one of .npy, .npz, .zarr, .parquet, .h5ad, or"),
        ("no.npy", "labels.npy", {}, "no file"),
        ("labels.npy", "labels.npy", {}, "features have shape (60,): must be (N, F)"),
    ],
)
def test_files_that_do_not_fit_are_named(
    files: Path, file: str, labels: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(FnxError, match=re.escape(message)):
        read(files, file, labels, **keys)


def test_missing_keys_and_damaged_files_are_named(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.file is missing"):
        fnx.Embedding.read_array(DatasetConfig("a", "array", labels="x"))
    with pytest.raises(ConfigError, match=r"dataset\.labels is missing"):
        fnx.Embedding.read_array(DatasetConfig("a", "array", file="x.npy"))
    for ending in ("npy", "npz", "parquet", "h5ad"):
        (tmp_path / f"x.{ending}").write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match=f"cannot read '.*x.{ending}'"):
            read(tmp_path, f"x.{ending}", str(files / "labels.npy"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset=array", "model=vgg16"), "dataset=array needs no network: leave out model=vgg16"),
        (("model=none",), "model=none is for dataset=array: images need a network"),
        (("dataset=array", "report.reference_dataset=digits"), "report.reference_dataset: dataset"),
        (("dataset.groups=x",), "dataset.groups=x: is for array and csv only"),
        (("dataset.certainty=2",), "dataset.certainty=2: is for cub200 only"),
    ],
)
def test_what_arrays_and_images_do_not_share_is_refused(
    compose: Any, words: tuple[str, ...], message: str
) -> None:
    from fnx.config.checks import check

    with pytest.raises(ConfigError, match=re.escape(message)):
        check(compose(*words))


def test_a_run_of_a_file_and_its_values_afterwards(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    copied = tmp_path / "copied.npy"
    copied.write_bytes((files / "c.npy").read_bytes())
    run = fnx.run(
        dataset="array", file=copied, labels=files / "labels.csv", groups="fold",
        concept_columns=["tall", "small"], report="tables", logger="none",
        **{"model.name": "latents", "threshold.permutations": 2},
    )  # fmt: skip
    expected = fnx.distances(VALUES, np.stack([np.arange(N) % 2 == 0, np.arange(N) % 5 == 0], 1))
    np.testing.assert_array_equal(run.distances, expected)
    assert run.classes["n_images"].to_list() == [30, 12]
    assert (run.n_images, run.model, run.record.tap) == (N, "latents", "")
    opened = fnx.Run.open(run.path)
    assert opened.calibrated is not None
    opened.show("tall", feature="features/1")
    shown = capsys.readouterr().out
    assert "inside tall (30 images), and outside (30)" in shown
    assert "top rows" in shown
    first = opened.top_images.row(0, named=True)  # type: ignore[union-attr]
    assert first["path"] == f"t{int(VALUES[:, 0].argmax())}"
    np.save(copied, VALUES * 2)
    opened.show(feature="features/1")
    assert "has changed since the run" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("page", ["arrays", "concepts"])
def test_the_pages_for_newcomers_do_what_they_say(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    first = next(text for kind, _, text in blocks(page) if kind == "python")
    known: dict[str, Any] = {}
    exec(first, known)
    run = known["run"]
    assert (run.path / "report.html").is_file()
    top = run.top_features.filter(rank=1, sign="+")
    answer = {"arrays": ("music", 7), "concepts": ("loud", 5)}[page]
    named = dict(zip(run.classes["class_name"], top["feature_id"], strict=True))
    assert named[answer[0]] == answer[1]
    scripts = "".join(file.read_text() for file in (run.path / "report/data").glob("images*"))
    assert ("document 1" in scripts) == (page == "arrays")


def test_nothing_is_copied_whole(files: Path) -> None:
    opened = np.load(files / "c.npy", mmap_mode="r")
    assert open_columns(fnx.Embedding.from_array(opened, LABELS).features).array is opened
