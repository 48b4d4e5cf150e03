"""Weights & Biases, offline unless told otherwise: the only module that imports wandb."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import wandb
from polars import selectors

from fnx.report.trackers.tracker import PICTURE, StoredEmbedding, Tracker

log = logging.getLogger(__name__)


class WandbTracker(Tracker):
    """One W&B run in ``wandb/`` of the run's folder; offline it asks nothing.

    Started by an agent of a W&B sweep, it is the run that the agent has announced, in the sweep's
    project.
    """

    def __init__(
        self,
        run_dir: Path,
        run_config: Mapping[str, Any],
        *,
        project: str,
        name: str,
        job_type: str,
        group: str | None,
        tags: Sequence[str],
        mode: str,
    ) -> None:
        sweep = os.environ.get("WANDB_SWEEP_ID")
        if sweep and mode != "online":
            log.warning(
                "W&B sweep %s will not see this run without logger.mode=online; later: wandb sync"
                " %s/wandb/offline-run-*",
                sweep,
                run_dir,
            )
        self._folder = run_dir
        with ExitStack() as stack:
            if "WANDB_DATA_DIR" not in os.environ:
                # What waits to be sent lies in the run's folder, not in the user's home.
                os.environ["WANDB_DATA_DIR"] = str((run_dir / "wandb").resolve())
                stack.callback(os.environ.pop, "WANDB_DATA_DIR")
            self._run = wandb.init(
                project=None if sweep else project,  # a sweep has its own
                name=name,
                group=group or sweep,
                # W&B refuses tags of more than 64 characters.
                tags=[tag[:64] for tag in tags if tag],
                job_type=job_type,
                mode="online" if mode == "online" else "offline",
                dir=run_dir,
                config=dict(run_config),
                # A run of a sweep is a run of its own, never the one before it in the same process.
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    x_disable_stats=True,
                    # Its metadata hold the command line, secrets and all.
                    x_disable_meta=True,
                    disable_git=True,
                    disable_code=True,
                    login_timeout=60,  # seconds: nobody may be there to answer
                ),
            )
            self._opened = stack.pop_all()

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Add the scalars to the run's summary."""
        self._run.summary.update(dict(values))

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Log a `wandb.Table`; infinities become null, which its format needs, pictures images."""
        numbers = selectors.float()
        finite = table.with_columns(pl.when(numbers.is_finite()).then(numbers))
        data = [list(row) for row in finite.rows()]
        if PICTURE in table.columns:
            place = table.columns.index(PICTURE)
            paths = set(table[PICTURE].drop_nulls())
            images = {path: wandb.Image(str(self._folder / path)) for path in paths}
            for row in data:
                row[place] = images.get(row[place])
        self._run.log({name: wandb.Table(columns=list(table.columns), data=data)}, step=0)

    def log_figure(self, name: str, path: Path) -> None:
        """Log a `wandb.Image` of a PNG file."""
        self._run.log({name: wandb.Image(str(path))}, step=0)

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """Log a reference artifact: the embedding's place; nothing of it is uploaded.

        Its version is a digest of the paths of the files and of the embedding's manifest, which
        holds the fingerprint and the digests of all shards; gigabytes are not read again. Runs
        that share an embedding thus share a version, and W&B's lineage shows it.
        """
        name = re.sub(r"[^\w.-]", "_", embedding.path.name, flags=re.ASCII)[-128:]
        artifact = wandb.Artifact(name, type="embedding", metadata=dict(embedding.metadata))
        artifact.add_reference((embedding.path / "manifest.json").as_uri())
        for part in ("features.zarr", "features.parquet", "images.parquet"):
            uri = (embedding.path / part).as_uri()
            artifact.add_reference(uri, name=part, checksum=False)
        if embedding.reused and not self._run.offline:
            self._run.use_artifact(artifact, aliases=[embedding.fingerprint])
        else:  # offline, a run cannot be told to have used what the server may not know
            self._run.log_artifact(artifact, aliases=["latest", embedding.fingerprint])

    def close(self, *, failed: bool = False) -> None:
        """Finish the run, so that the next one of a sweep gets its own."""
        with self._opened:
            self._run.finish(exit_code=1 if failed else 0)
