from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tests.report.synthetic import write_run

from fnx.analysis import Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with its figures and page; not to be changed."""
    from fnx.config.schema import ReportConfig
    from fnx.report import write_report

    folder = write_run(tmp_path_factory.mktemp("runs") / "small")
    write_report(Run.open(folder), ReportConfig())
    return folder


@pytest.fixture
def tracked_run(finished: Path, tmp_path: Path) -> Run:
    """A copy of it to write into, with an embedding's folder and pictures of its features."""
    folder = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["extraction"] = {"images": 150, "seconds": 60.0}
    record["config"] |= {"statistic": record["statistic"], "threshold": record["threshold"]}
    (folder / "run.json").write_text(json.dumps(record))
    embedding = tmp_path / record["embedding"]
    (embedding / "features.zarr/c/0").mkdir(parents=True)
    (embedding / "features.zarr/c/0/0").write_bytes(b"not read")
    manifest = {"fingerprint": record["fingerprint"], "rows": 150, "features": 48, "format": 2}
    (embedding / "manifest.json").write_text(json.dumps(manifest | {"inputs": {"tap": "post"}}))
    for name in ("images", "features"):
        shutil.copy(folder / f"{name}.parquet", embedding)
    for layer, unit in pl.read_parquet(folder / "features.parquet")["layer", "unit"].iter_rows():
        picture = folder / "pictures" / layer / f"{unit}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (unit, 0, 0)).save(picture)
    return Run.open(folder)
