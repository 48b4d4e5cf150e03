from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.analysis import runs
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.comparison.table3 import table3
from fnx.analysis.distributions import Domain
from fnx.analysis.record import Kept
from fnx.embedding import Embedding
from fnx.errors import DataError


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
    assert run.features is runs.FEATURES
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
