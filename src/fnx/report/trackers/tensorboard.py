"""TensorBoard: event files in the run's folder, with what its dashboard compares runs by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from torch.utils.tensorboard import SummaryWriter, summary

from fnx.analysis.comparison.differences import flattened
from fnx.report.trackers.tracker import PICTURE, StoredEmbedding, Tracker

_hparams: Any = summary.hparams

TEXT_ROWS = 200  # rows of a table that are shown as text


class TensorBoardTracker(Tracker):
    """Event files in ``tensorboard/`` of the run's folder."""

    def __init__(self, run_dir: Path, run_config: Mapping[str, Any]) -> None:
        self._folder = run_dir
        self._options = flat(run_config)
        self._writer: Any = SummaryWriter(run_dir / "tensorboard")
        text = json.dumps(run_config, indent=2, default=str, ensure_ascii=False)
        self._writer.add_text("config", _code_block(text))

    def log_summary(self, values: Mapping[str, float | int | str | bool]) -> None:
        """Log numbers as scalars, the rest as text, and all beside the options (HPARAMS)."""
        numbers = {name: float(v) for name, v in values.items() if not isinstance(v, str)}
        for name, value in values.items():
            if isinstance(value, str):
                self._writer.add_text(name, value)
            else:
                self._writer.add_scalar(name, numbers[name])
        # Into this file: the writer's own add_hparams() would open a run of its own for them.
        for part in _hparams(self._options, numbers):
            self._writer.file_writer.add_summary(part)

    def log_table(self, name: str, table: pl.DataFrame) -> None:
        """Log the first rows as a Markdown table, and the pictures as images."""
        head = table.head(TEXT_ROWS)
        rows = [head.columns, ["---"] * head.width, *map(list, head.rows())]
        cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
        self._writer.add_text(name, "\n".join("| " + " | ".join(row) + " |" for row in cells))
        if PICTURE in table.columns:
            for path in table[PICTURE].drop_nulls().unique(maintain_order=True):
                self.log_figure(Path(path).with_suffix("").as_posix(), self._folder / path)

    def log_figure(self, name: str, path: Path) -> None:
        """Log the picture as it was drawn."""
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), dataformats="HWC")

    def log_embedding(self, embedding: StoredEmbedding) -> None:
        """Log the embedding's path and fingerprint as text."""
        self._writer.add_text("embedding", _code_block(str(embedding.path)))
        self._writer.add_text("fingerprint", embedding.fingerprint)

    def close(self, *, failed: bool = False) -> None:
        """Write what is pending."""
        self._writer.close()


def flat(config: Mapping[str, Any]) -> dict[str, bool | float | int | str]:
    """Flatten a nested config into the command line's dotted keys; null values are left out.

    >>> flat({"crops": {"name": "ten", "size": 224, "note": None}, "layers": ["a", "b"]})
    {'crops.name': 'ten', 'crops.size': 224, 'layers': '[a,b]'}
    """
    return {
        key: f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else value
        for key, value in flattened(config).items()
        if value is not None and value != {}
    }


def _code_block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
