from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.report.synthetic import Synthetic, write_run

from fnx.analysis import Run
from fnx.analysis.comparison.table3 import table3
from fnx.analysis.summary import findings, kept_by_class
from fnx.errors import DataError


def test_a_run_reads_back_what_was_written(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    assert (run.dataset, run.model, run.statistic, run.signed) == ("shapes", "tinynet", "ks", True)
    assert run.distances.shape == (48, 5)
    assert run.distances_random.shape == (2, 48, 5)
    assert isinstance(run.distances, np.memmap)
    assert run.n_images == 150
    assert run.images_per_class == 30
    assert run.failed["error"].to_list() == ["image file is truncated"]


def test_the_answer_agrees_with_the_arrays(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path / "run"))
    found = findings(run)
    plus, minus = run.threshold("+"), run.threshold("-")
    assert plus is not None
    assert minus is not None
    kept = (run.distances > np.float32(plus["threshold"])) | (
        run.distances < np.float32(minus["threshold"])
    )
    assert found.worth_keeping == pytest.approx(kept.sum(axis=0).mean())
    share = dict(found.layers.select("layer", "pct_kept").rows())
    assert share["conv1_1"] == pytest.approx(100 * kept[:12].mean())
    counted = kept_by_class(run)
    assert (counted["kept_plus"] + counted["kept_minus"]).to_list() == kept.sum(axis=0).tolist()
    best = found.speaking(1)["layer"].item()
    assert found.layers.sort("excess")["layer"].to_list()[-1] == best


def test_noise_alone_says_hardly_more_than_chance(tmp_path: Path) -> None:
    from fnx.report.page.page import verdict

    layers = (("conv1", 400, "conv"), ("fc", 400, "fc"))
    spec = Synthetic(layers=layers, strength=0.0, permutations=4)
    found = findings(Run.open(write_run(tmp_path / "run", spec)))
    assert abs(found.signal) < 5
    assert verdict(found) in (None, "faintly")


def test_table_3_is_ordered_by_images_a_class(tmp_path: Path) -> None:
    runs = [
        Run.open(write_run(tmp_path / name, Synthetic(dataset=name, class_sizes=sizes)))
        for name, sizes in (("many", (60, 70)), ("few", (9, 12, 10)))
    ]
    table = table3(runs)
    assert table["dataset"].to_list() == ["few", "many"]
    assert table["images_per_class"].to_list() == [31 / 3, 65]
    thresholds = runs[1].thresholds.filter(sign="-")
    assert table["t_minus"][0] == thresholds["threshold"].item()
    assert table["kept_random_minus"][0] == thresholds["kept_random"].item()


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
    with pytest.raises(DataError, match=r"classes\.parquet: cannot be read"):
        _ = Run.open(folder).classes
    (folder / "run.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        Run.open(folder)


def test_distances_must_fit_the_tables(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    np.save(folder / "distances.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(DataError, match=r"shape \(3, 3\); the run has 48 features and 5 classes"):
        _ = Run.open(folder).distances
