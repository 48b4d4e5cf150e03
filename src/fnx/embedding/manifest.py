"""The manifest of an embedding: what it was made of, its layout, and the digests of its files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fnx.embedding.fingerprint import FORMAT
from fnx.errors import DataError, reason
from fnx.utils.files import digest, write_atomically

_REMEDY = "delete the folder to have it extracted again"


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``: the fingerprint's whole input, and the store's layout.

    Attributes:
        fingerprint: of `inputs`.
        inputs: see `fnx.embedding.fingerprint.shaping_inputs`.
        rows: N.
        features: F.
        rows_per_shard: rows of every shard but the last, which may be short.
        complete: whether every shard is written.
        shards: digest of each shard of the values, once complete.
        positions: likewise of the positions; None for a store without positions, which older
            versions made.
        format: see `fnx.embedding.fingerprint.FORMAT`.
        files: digests of the tables and of the arrays' metadata, by name, once complete; older
            versions wrote none.
    """

    fingerprint: str
    inputs: dict[str, Any]
    rows: int
    features: int
    rows_per_shard: int
    complete: bool = False
    shards: tuple[str, ...] = ()
    positions: tuple[str, ...] | None = None
    format: int = FORMAT
    files: dict[str, str] = field(default_factory=dict)

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.rows_per_shard)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, whose folders are NAME.zarr."""
        return ("features",) if self.positions is None else ("features", "positions")

    def shard_rows(self, shard: int) -> range:
        """Return the rows of one shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, self.rows))

    def write(self, path: Path) -> None:
        """Replace ``manifest.json`` in the folder `path`, all at once."""
        content = dataclasses.asdict(self)
        content["digest"] = _digest_of(content)
        write_atomically(path / "manifest.json", json.dumps(content, indent=1))

    @classmethod
    def read(cls, path: Path, fingerprint: str | None = None) -> Manifest:
        """Read the manifest of the folder `path`.

        Raises:
            DataError: no manifest, a damaged one, one of another format, or of another fingerprint
                than the one given.
        """
        try:
            found = json.loads((path / "manifest.json").read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise _no_embedding(path, reason(error)) from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            version = found.get("format") if isinstance(found, dict) else None
            raise DataError(
                f"{path} is an embedding of format {version!r:.40}, this fnx reads format "
                f"{FORMAT}: {_REMEDY}"
            )
        written = found.pop("digest", None)  # older versions wrote none
        if written is not None and written != _digest_of(found):
            raise _no_embedding(path, "it was changed since it was written")
        try:
            manifest = cls(**found)._as_written()
        except (TypeError, ValueError) as error:
            raise _no_embedding(path, reason(error)) from error
        if fingerprint not in (None, manifest.fingerprint):
            raise _no_embedding(path, f"it is of another embedding, {manifest.fingerprint!r:.40}")
        return manifest

    def _as_written(self) -> Manifest:
        """Return the manifest whose JSON this is.

        Raises:
            TypeError, ValueError: a value that `write` does not write.
        """
        for name in ("rows", "features", "rows_per_shard"):
            number = getattr(self, name)
            if type(number) is not int or number < 1:
                raise ValueError(f"{name} is {number!r:.40}")
        lists = {"shards": self.shards, "positions": self.positions}
        for name, digests in lists.items():
            wanted = self.n_shards if self.complete else 0
            if digests is not None and not (_are_texts(digests) and len(digests) == wanted):
                raise ValueError(f"{name} are not {wanted} digests")
        kinds = (self.fingerprint, self.inputs, self.complete, self.files)
        if [type(value) for value in kinds] != [str, dict, bool, dict]:
            raise TypeError("fingerprint, inputs, complete or files")
        positions = None if self.positions is None else tuple(self.positions)
        return dataclasses.replace(self, shards=tuple(self.shards), positions=positions)


def _are_texts(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)


def _digest_of(content: dict[str, Any]) -> str:
    return digest([json.dumps(content, sort_keys=True).encode()])


def _no_embedding(path: Path, why: str) -> DataError:
    return DataError(f"{path} is not an embedding, or damaged: manifest.json: {why}; {_REMEDY}")
