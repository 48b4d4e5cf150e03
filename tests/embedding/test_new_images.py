"""New images go the way of a run's: same numbers, each a row, and nothing else than the run did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import fnx
from fnx import app
from fnx.analysis import Run
from fnx.analysis.record import RunRecord
from fnx.commands.embed import main
from fnx.config.schema import Config
from fnx.embedding import extraction, new_images
from fnx.errors import ConfigError, DataError, WeightsError
from fnx.images.intensity import USUAL


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_at: Callable[..., Config]) -> Run:
    """A run on a folder of eight images in two classes, of which the network is untrained."""
    folder = tmp_path_factory.mktemp("new images")
    rng = np.random.default_rng(0)
    for number in range(8):
        file = folder / f"photos/{('dark', 'light')[number % 2]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        low = 128 * (number % 2)
        Image.fromarray(rng.integers(low, low + 128, (36, 44, 3), np.uint8)).save(file)
    words = ("threshold.permutations=1", "crops=ten", "crops.resize=40", "crops.size=32")
    words += ("dataset=folder", f"dataset.root={folder / 'photos'}", "model.layers=[layer1*]")
    words += ("report=tables", "report.pictures=none")
    return app.run(tiny_at(folder, *words), folder / "run")


def of_record(run: Run, **changes: Any) -> Run:
    """The same run with another record."""
    record = json.loads((run.path / "run.json").read_text())
    config = record["config"]
    for key, value in changes.items():
        if key in record:
            record[key] = value
        else:
            group, name = key.split("_", 1)
            config[group][name] = value
    fields = {"extraction", "counts", "thresholds"}
    return Run(run.path, RunRecord(**{k: v for k, v in record.items() if k not in fields}))


def test_the_images_of_the_run_have_the_rows_of_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError("an image went through the network again")

    every = fnx.export(run, features="all")
    kept = fnx.export(run).columns[8:]
    assert 0 < len(kept) < every.width - 8
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in reversed(list(enumerate(every["path"]))):
        shutil.copy(run.path.parent / "photos" / path, flat / f"{number}.png")
    (flat / "broken.png").write_bytes(b"nothing")
    with monkeypatch.context() as patched:
        patched.setattr(extraction, "extract", fails)
        found = fnx.embed(flat, like=run.path, select="kept")
        again = fnx.embed([flat / "3.png", flat / "0.png", flat / "3.png"], run, layers="layer1.0*")
    assert found.columns == ["path", "status", "error", *kept]
    assert found["path"].to_list() == [*(f"{n}.png" for n in range(8)), "broken.png"]
    assert found["status"].to_list() == ["ok"] * 8 + ["failed"]
    assert found["error"][8].startswith("not an image")
    assert found.select(kept)[:8].equals(every.select(kept))
    assert found.select(kept)[8].null_count().row(0) == (1,) * len(kept)
    names = [name for name in every.columns if name.startswith("layer1.0")]
    assert again.columns[3:] == names
    assert again.select(names).equals(every.select(names)[[3, 0, 3]])


def test_new_images_go_through_the_network_as_those_of_the_run_did(run: Run) -> None:
    photos = run.path.parent / "photos"
    every = fnx.export(run, features="all")
    given = [Image.open(photos / path) for path in every["path"][:2]]
    given[1:] = [np.asarray(given[1])]
    broken = Image.new("RGB", (1, 5000))
    found = fnx.embed([*given, broken], like=run, select=5)
    assert found["path"].to_list() == ["images[0]", "images[1]", "images[2]"]
    assert found["status"].to_list() == ["ok", "ok", "failed"]
    assert "too long for its width" in found["error"][2]
    assert found.columns[3:] == fnx.export(run, features=5).columns[8:]
    expected = every.select(found.columns[3:])[:2].to_numpy()
    np.testing.assert_allclose(found[:2, 3:].to_numpy(), expected, rtol=1e-5, atol=1e-6)
    made = list(Path(run.embedding_path or "").parent.glob("new-images-*/manifest.json"))
    assert made, "it is beside the run's, and found again"


def test_if_no_image_can_be_read_all_are_rows(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    found = fnx.embed(tmp_path / "a.png", like=run, select=2)
    assert found["status"].to_list() == ["failed"]
    assert found.row(0)[3:] == (None, None)


def test_other_weights_or_another_recipe_are_refused(run: Run, tmp_path: Path) -> None:
    images = run.path.parent / "photos"
    with pytest.raises(WeightsError, match=r"^the weights are no longer those of .*random-0…, the"):
        fnx.embed(images, like=of_record(run, weights_digest="f" * 64))
    with pytest.raises(DataError, match=r"run.json does not say how its images were embedded$"):
        fnx.embed(images, like=of_record(run, model_tap="pre"))
    for changes in ({"config": {}}, {"crops_size": "32"}, {"model_weights": 3}):
        with pytest.raises(DataError, match=r"run.json does not say how .* \(.+\)$"):
            fnx.embed(images, like=of_record(run, **changes))
    with pytest.raises(DataError, match="is of an array: it has no network"):
        fnx.embed(images, like=of_record(run, dataset_layout="array"))
    with pytest.raises(DataError, match="not a finished run"):
        fnx.embed(images, like=tmp_path)
    with pytest.raises(ConfigError, match="must be kept, all, or a number"):
        fnx.embed(images, like=run, select="some")
    with pytest.raises(ConfigError, match="must end with"):
        fnx.embed(images, like=run, to=tmp_path / "t.txt")


def test_values_of_more_than_8_bits_are_mapped_as_the_runs_were(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert new_images._ranges(run) == USUAL
    inputs = {"decoding": {"intensity_range": {"integer": [0, 4095]}}}
    manifest = type("Manifest", (), {"read": lambda _: type("", (), {"inputs": inputs})})
    monkeypatch.setattr(new_images, "Manifest", manifest)
    assert new_images._ranges(run) == {"integer": (0, 4095), "float": (0, 1)}
    given = of_record(run, dataset_intensity_range=[0, 100])
    assert new_images._ranges(given) is None
    assert new_images._config(given).dataset.intensity_range == [0, 100]
    assert new_images._ranges(of_record(run, embedding="gone")) == USUAL


def test_weights_are_found_from_where_the_run_lies(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path.parent / "w.pth").touch()
    weights = {"source": "path", "path": "w.pth"}
    found = new_images._config(of_record(run, model_weights=weights)).model.weights.path
    assert Path(str(found)) == run.path.parent.resolve() / "w.pth"
    gone = new_images._config(of_record(run, model_weights={"path": "gone.pth"}))
    assert gone.model.weights.path == "gone.pth"


def test_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = run.path.parent / "photos"
    words = ["--like", str(run.path), "--select"]
    main([str(photos / "dark"), *words, "--to", "t.csv"])
    kept = fnx.export(run).columns[8:]
    said = f"t.csv: 4 images, 0 failed, {len(kept):,} features\n"
    assert capsys.readouterr().out == said
    found = pl.read_csv("t.csv")
    assert found.columns == ["path", "status", "error", *kept]
    expected = fnx.export(run).filter(class_name="dark")
    np.testing.assert_array_equal(
        found.select(kept).to_numpy().astype(np.float32), expected.select(kept).to_numpy()
    )
    (tmp_path / "a.png").write_bytes(b"nothing")
    main([str(photos / "dark"), "a.png", *words, "2"])
    name, said = capsys.readouterr().out.split(": ")
    assert said == "5 images, 1 failed, 2 features\n"
    assert pl.read_parquet(name).shape == (5, 5)
