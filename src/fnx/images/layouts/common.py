"""What the readers of published layouts share: finding folders, reading lists, naming classes.

What is not there is a `MissingDataError`; a file that cannot be read, or does not hold what its
reader expects, is a `DataError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fnx.config.schema import DatasetConfig
from fnx.errors import ConfigError, DataError, MissingDataError, reason
from fnx.images.dataset import Listing
from fnx.images.layouts.walk import ENDINGS, LEFT_BY_RUN, names_in, written_by_fnx
from fnx.images.official import OFFICIAL, how_to_fetch
from fnx.images.paths import Files, natural_key, shown, to_text
from fnx.utils.files import expand_user, open_file


@dataclass(frozen=True)
class Row:
    """An image, its class and its official split; classes are sorted by `order`, then by name."""

    path: str
    class_name: str
    split: str | None = None
    order: int = 0


def root_path(config: DatasetConfig) -> Path:
    """Return `dataset.root`, which a user has to give, as an absolute path; it need not exist."""
    if not config.root:
        raise ConfigError("dataset.root is missing: give it as dataset.root=PATH")
    return Path(expand_user(config.root)).absolute()


def existing_root(config: DatasetConfig) -> Path:
    """Return `dataset.root` as an existing folder."""
    root = root_path(config)
    if not root.is_dir():
        raise incomplete(config, "no such folder")
    return root


def find_base(config: DatasetConfig, needed: Sequence[str], *, folders: Sequence[str] = ()) -> Path:
    """Return the folder that holds all of `needed`: `dataset.root`, or one of `folders` below it.

    So the root may be the folder an archive was unpacked into, or the one the archive brings. The
    error names what the folder that holds most of `needed` does not hold.
    """
    root = existing_root(config)
    fewest = list(needed)
    for place in (root / folder for folder in ("", *folders)):
        absent = [name for name in needed if not (place / name).exists()]
        if not absent:
            return place
        fewest = min(absent, fewest, key=len)
    raise incomplete(config, f"no {', '.join(fewest)}")


def incomplete(config: DatasetConfig, what: str) -> MissingDataError:
    """Return the error that says what is not there, what is expected, and how to get it."""
    data_set = OFFICIAL[config.layout]
    root = to_text(str(config.root))
    return MissingDataError(
        f"{data_set.title} is not complete in {root!r} (dataset.root): {what}; "
        f"expected {data_set.layout}; {how_to_fetch(config.layout)}"
    )


def read_lines(file: Path) -> list[str]:
    """Return the lines of an annotation file that are not empty."""
    try:
        with open_file(file) as lines:
            text = lines.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {shown(file)}: {reason(error)}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_columns(file: Path, number: int) -> list[list[str]]:
    """Return the first `number` words of each line, which must have as many."""
    rows = [line.split() for line in read_lines(file)]
    short = next((place for place, row in enumerate(rows) if len(row) < number), None)
    if short is not None:
        raise DataError(f"{shown(file)}: expected {number} words in each line, found {rows[short]}")
    return [row[:number] for row in rows]


def read_mat(file: Path) -> dict[str, Any]:
    """Return the variables of a MATLAB file, without dimensions of one."""
    from scipy.io import loadmat

    try:
        with open_file(file) as variables:
            loaded: dict[str, Any] = loadmat(variables, squeeze_me=True)
    except Exception as error:  # scipy raises whatever it meets in a damaged file
        raise DataError(f"cannot read {shown(file)}: {reason(error)}") from error
    return loaded


def images_in(folder: Path, prefix: str = "") -> list[str]:
    """Return the images directly in `folder`, told by their endings, hidden ones left out."""
    return [
        prefix + to_text(file.name)
        for file in folder.iterdir()
        if file.name.lower().endswith(ENDINGS) and not file.name.startswith(".")
    ]


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in `folder` in natural order.

    Hidden ones are left out, and those that fnx wrote.
    """
    left = LEFT_BY_RUN if written_by_fnx(folder.name, names_in(folder)) else ()
    names = [
        to_text(item.name)
        for item in folder.iterdir()
        if item.is_dir()
        and item.name not in left
        and not item.name.startswith(".")
        and not written_by_fnx(item.name, names_in(item))
    ]
    return sorted(names, key=natural_key)


def spaced(name: str) -> str:
    """Return a class's name without the underscores that file names need.

    >>> spaced("airport_inside")
    'airport inside'
    """
    return " ".join(name.replace("_", " ").split())


def to_listing(config: DatasetConfig, base: Path, rows: Iterable[Row]) -> Listing:
    """Return the rows, of which an image at least must be there, by class in natural order."""
    found = sorted(
        rows, key=lambda row: (row.order, natural_key(row.class_name), natural_key(row.path))
    )
    source = Files(str(base))
    if not any(source.file(row.path).exists() for row in found):
        what = f"none of the {len(found):,} images" if found else "no images"
        first = f", as {found[0].path}" if found else ""
        raise incomplete(config, what + first)
    return Listing(
        paths=[row.path for row in found],
        class_names=[row.class_name for row in found],
        splits=[row.split for row in found],
        open=source,
        root=base,
    )
