"""Opens and reads the arrays of an embedding's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarrs  # noqa: F401  # which has zarr know its pipeline
from numpy.typing import NDArray

from fnx.embedding.manifest import Manifest

_PIPELINE = "zarrs.ZarrsCodecPipeline"


def open_array(folder: Path) -> zarr.Array[Any]:
    """Open an array to read it, by compiled code: columns arrive six times as fast as by zarr's.

    That code would write the chunks of a shard in any order, and a shard have another digest each
    time, so zarr's own writes them.
    """
    with zarr.config.set({"codec_pipeline.path": _PIPELINE}):
        return zarr.open_array(folder, mode="r")


def open_arrays(path: Path, manifest: Manifest) -> list[zarr.Array[Any]]:
    """Open the values and, where there are some, the positions."""
    return [open_array(path / f"{name}.zarr") for name in manifest.arrays]


def read_blocks(
    arrays: Sequence[zarr.Array[Any]], manifest: Manifest, shard: int
) -> list[NDArray[Any]]:
    """Read one shard of each array; whether it is sound is told by `digests`, after it."""
    rows = manifest.shard_rows(shard)
    return [np.asarray(array[rows.start : rows.stop]) for array in arrays]
