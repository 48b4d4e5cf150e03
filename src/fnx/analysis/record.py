"""The record of a run, ``run.json``: what was run, with what, and how long each stage took."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import sys
import time
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from fnx.errors import DataError, reason
from fnx.utils.files import write_atomically
from fnx.utils.redact import redacted

RECORD = "run.json"
DEPTH = 50  # of the record, whose configuration is 4 deep

# The libraries whose version can change a number or a picture.
LIBRARIES = (
    *("torch", "timm", "lightning", "numpy", "numba", "scipy"),
    *("polars", "zarr", "pillow", "matplotlib", "wandb"),
)


@dataclass(frozen=True)
class Extraction:
    """What the run itself put through the network: fewer images than all where it resumed.

    `seconds` is the duration of the loop over the images, without building the network. The rows of
    `copied` images came from embeddings of the same recipe, or from equal images of this one.
    """

    images: int
    seconds: float
    copied: int = 0


@dataclass(frozen=True)
class Counts:
    """The sizes of a run; `images` were used, `failed` could not be read."""

    images: int = 0
    failed: int = 0
    classes: int = 0
    features: int = 0
    constant: int = 0


@dataclass(frozen=True)
class Kept:
    """One threshold, and the mean number of features per class that it keeps."""

    threshold: float
    davg: float
    kept: float
    kept_random: float
    spread_random: float | None = None

    @property
    def noise_share(self) -> float:
        """Percent of the kept features that random labels would have kept as well."""
        return noise_share(self.kept, self.kept_random)


def noise_share(kept: float, kept_random: float) -> float:
    """Return the percentage of the kept that random labels keep as well, at most 100.

    >>> noise_share(8, 2), noise_share(2, 8), noise_share(0, 0)
    (25.0, 100.0, 0.0)
    """
    return 100 * min(kept_random / kept, 1.0) if kept else 0.0


@dataclass(frozen=True)
class KeptBySign:
    """Both thresholds of a run; `minus` is None for an unsigned statistic."""

    plus: Kept | None = None
    minus: Kept | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that is needed to repeat a run, or to trust it. Records of older versions lack keys.

    `crops`, `statistic`, `threshold`: the name of the option and its parameters. `neutral`: the
    statistic's value where a class is like all others. `reference_embedding`: of the reference
    images, where they are others than the run's own. `config`: the whole configuration.
    `seconds`: wall time of each stage. `redrawn`: ``command``, ``started``, ``fnx_version`` of the
    last report that was drawn after the run, whose keys `config` then has; empty if there is none.
    """

    fnx_version: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    started: str = ""
    seed: int | None = None
    dataset: str
    model: str
    tap: str = ""
    crops: dict[str, Any] = field(default_factory=dict)
    statistic: dict[str, Any]
    neutral: float = 0.0
    threshold: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    embedding: str = ""
    embedding_reused: bool = False
    reference_embedding: str = ""
    extraction: Extraction | None = None
    weights_digest: str = ""
    counts: Counts = Counts()
    thresholds: KeptBySign = KeptBySign()
    redrawn: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record of a finished run.

        Raises:
            DataError: the folder has no record, or a damaged one.
        """
        file = folder / RECORD
        if not file.is_file():
            raise DataError(f"{folder}: not a finished run of fnx ({RECORD} is missing)")
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            json.dumps(values, ensure_ascii=False).encode()  # no half of a character
            _check_depth(values)
            record: RunRecord = _parse(values, cls, "the record")
            if not isinstance(record.statistic.get("name"), str):
                raise ValueError("statistic.name is missing")
            if not math.isfinite(record.neutral):
                raise ValueError(f"neutral is {record.neutral}")
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{file}: cannot be read ({str(error) or reason(error)})") from error
        return record

    def write(self, folder: Path) -> None:
        """Write ``run.json``, without secrets; it is there whole or not at all."""
        text = json.dumps(redacted(dataclasses.asdict(self)), indent=2, ensure_ascii=False)
        write_atomically(folder / RECORD, text + "\n")

    def setting(self, key: str) -> Any:
        """Return the value of a dotted key of the configuration; None if it has no such key.

        >>> config = {"dataset": {"layout": "folder"}}
        >>> record = RunRecord(dataset="d", model="m", statistic={"name": "ks"}, config=config)
        >>> record.setting("dataset.layout"), record.setting("report.pairs")
        ('folder', None)
        """
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def _check_depth(value: Any, left: int = DEPTH) -> None:
    """Refuse what is nested so deeply that whatever walks through it would not return."""
    if isinstance(value, dict | list):
        if not left:
            raise ValueError(f"it is nested more than {DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def _parse(value: Any, kind: Any, key: str) -> Any:
    """Return a value of JSON as the type of a field; keys that a dataclass lacks are left out.

    Raises:
        ValueError: it is of another type, or a value without a default is missing.
    """
    if kind is Any:
        return value
    if isinstance(kind, types.UnionType):  # X | None, of a field; None is left to the default
        kind = typing.get_args(kind)[0]
    nested: bool = dataclasses.is_dataclass(kind)
    expected = dict if nested else typing.get_origin(kind) or kind
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise ValueError(f"{key} must be {expected.__name__}, not {type(value).__name__}")
    if expected is list:
        return [_parse(item, typing.get_args(kind)[0], key) for item in value]
    if nested:
        hints = typing.get_type_hints(kind)
        # Older versions wrote null where a value was not known.
        given = {name: item for name, item in value.items() if name in hints and item is not None}
        for name, parameter in inspect.signature(kind).parameters.items():
            if parameter.default is parameter.empty and name not in given:
                raise ValueError(f"{name} is missing")
        return kind(**{name: _parse(item, hints[name], name) for name, item in given.items()})
    if expected is dict:
        of_values = typing.get_args(kind)[1]
        return {name: _parse(item, of_values, f"{key}.{name}") for name, item in value.items()}
    return value


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
    """Return the versions of Python and of the libraries that shape the results."""
    found = {"python": sys.version.split()[0]}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
