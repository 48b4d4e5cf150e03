"""The record of a run, ``run.json``: what was run, with what, and how long each stage took."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fnx.utils.redact import redacted

if TYPE_CHECKING:
    from fnx.config.schema import Config
    from fnx.embedding.embed import Embedding
    from fnx.images.dataset import LabelledImages

# The libraries whose version can change a number or a picture.
LIBRARIES = (
    "torch",
    "timm",
    "lightning",
    "numpy",
    "numba",
    "scipy",
    "polars",
    "zarr",
    "pillow",
    "matplotlib",
    "wandb",
)


class Stopwatch:
    """Seconds of wall time for each named stage.

    >>> stage = Stopwatch()
    >>> with stage("images"):
    ...     pass
    >>> list(stage.seconds)
    ['images']
    """

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.perf_counter() - start, 3)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape the results."""
    found = {"python": sys.version.split()[0]}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_record(
    run_dir: Path,
    config: Config,
    images: LabelledImages,
    embedding: Embedding,
    *,
    reused: bool,
    stage: Stopwatch,
) -> None:
    """Write ``run.json``: everything one needs to know to repeat the run, or to trust it."""
    listed, classes, features, thresholds = (
        pl.read_parquet(run_dir / f"{name}.parquet")
        for name in ("images", "classes", "features", "thresholds")
    )
    by_sign = {row.pop("sign"): row for row in thresholds.to_dicts()}
    failed = listed.filter(pl.col("status") == "failed").height
    record = {
        "fnx_version": metadata.version("fnx"),
        "versions": versions(),
        "command": ["python", "-m", "fnx", *sys.argv[1:]],
        "started": stage.started.isoformat(timespec="seconds"),
        "seed": config.seed,
        "dataset": config.dataset.name,
        "model": config.model.name,
        "tap": config.model.tap,
        "crops": dataclasses.asdict(config.crops),
        "statistic": config.statistic,
        "threshold": config.threshold,
        "fingerprint": embedding.manifest.fingerprint,
        "embedding": str(embedding.path),
        "embedding_reused": reused,
        "extraction": dataclasses.asdict(embedding.extraction) if embedding.extraction else None,
        "weights_digest": embedding.manifest.inputs["weights"],
        "counts": {
            "images": listed.height - failed,
            "failed": failed,
            "classes": classes.height,
            "features": features.height,
            "constant": int(features["constant"].sum()),
        },
        "thresholds": {"plus": by_sign["+"], "minus": by_sign.get("-")},
        "seconds": stage.seconds,
        "warnings": list(images.warnings),
        "config": dataclasses.asdict(config),
    }
    text = json.dumps(redacted(record), indent=2, ensure_ascii=False)
    (run_dir / "run.json").write_text(text + "\n", encoding="utf-8")
