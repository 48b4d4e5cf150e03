"""Weights & Biases, offline unless told otherwise: the only module that imports wandb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
import wandb


class WandbTracker:
    """One W&B run in ``wandb/`` of the run's folder; offline it asks nothing."""

    def __init__(
        self,
        run_dir: Path,
        run_config: Mapping[str, Any],
        *,
        project: str,
        name: str,
        group: str | None,
        tags: Sequence[str],
        mode: str,
    ) -> None:
        # W&B refuses tags of more than 64 characters.
        short = [tag[:64] for tag in tags if tag]
        chosen: Literal["online", "offline"] = "online" if mode == "online" else "offline"
        self._run = wandb.init(
            project=project,
            name=name,
            group=group,
            tags=short,
            job_type="run",
            mode=chosen,
            dir=run_dir,
            config=dict(run_config),
            # A run of a sweep is a run of its own, never the one before it in the same process.
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                x_disable_stats=True,
                x_disable_meta=False,
                disable_git=True,
                disable_code=True,
            ),
        )

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Scalars of the run's summary."""
        self._run.summary.update(dict(values))

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """A `wandb.Table`; infinities, which its format lacks, become null."""
        floats = [name for name, dtype in table.schema.items() if dtype.is_float()]
        finite = table.with_columns(
            pl.when(pl.col(column).is_finite()).then(pl.col(column)).alias(column)
            for column in floats
        )
        data = [list(row) for row in finite.rows()]
        self._run.log({name: wandb.Table(columns=list(table.columns), data=data)}, step=0)

    def log_figure(self, name: str, path: Path) -> None:
        """A `wandb.Image` of a PNG file."""
        self._run.log({name: wandb.Image(str(path))}, step=0)

    def close(self, *, failed: bool = False) -> None:
        """Finish the run, so that the next one of a sweep gets its own."""
        self._run.finish(exit_code=1 if failed else 0)
