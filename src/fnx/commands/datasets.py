"""``python -m fnx datasets``: the paper's Table 2, beside what is found on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from fnx.config.compose import compose
from fnx.config.schema import DatasetConfig
from fnx.errors import FnxError
from fnx.images.layouts import readers
from fnx.images.official import OFFICIAL, Counts, count
from fnx.utils.text import printable

_ROW = "{:<13}{:>9}{:>8}{:>10}   {:>9}{:>8}{:>10}   {}"


def main(arguments: Sequence[str]) -> None:
    """Print the table, each line as soon as its images are counted."""
    parser = argparse.ArgumentParser(
        prog="fnx datasets",
        description="Show Table 2 of the paper, which of its data sets are on this machine, and "
        "how to get the others.",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="as of a run: paths.data=PATH"
    )
    for line in table(parser.parse_args(arguments).overrides):
        sys.stdout.write(f"{printable(line)}\n")
        sys.stdout.flush()


def table(overrides: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines: what the paper counts, what is here, and how to get what is not.

    Images are counted by the lists of their data set as far as their files are there; they are not
    opened.

    Raises:
        ConfigError: an override that names no key.
    """
    data = compose(overrides).paths.data
    yield f"data sets in {data} (paths.data, or FNX_DATA)"
    yield ""
    yield _ROW.format("", "Table 2", "", "", "found", "", "", "").rstrip()
    yield _ROW.format("", *2 * ("images", "classes", "per class"), "").rstrip()
    missing = []
    for name, data_set in OFFICIAL.items():
        found, state = _found(name, f"{data}/{name}")
        if found is None:
            missing.append(name)
        elif found != data_set.published and data_set.note:
            state += f" ({data_set.note})"
        cells = ("–", "–", "–") if found is None else _cells(found)
        yield _ROW.format(name, *_cells(data_set.published), *cells, state)
    if missing:
        yield ""
    if public := [name for name in missing if OFFICIAL[name].public]:
        yield f"fetch:   python -m fnx dataset={public[0]} dataset.download=true"
    yield from (
        f"account: {name} at {OFFICIAL[name].page}" for name in missing if name not in public
    )


def _found(name: str, root: str) -> tuple[Counts | None, str]:
    """Return the counts of the files that are there, or None, and a remark."""
    try:
        listing = readers.list_images(DatasetConfig(name=name, layout=name, root=root))
    except FnxError as error:
        missing = str(error).partition("(dataset.root): ")[2].partition(";")[0]
        return None, missing or str(error)
    absent = set(readers.missing_files(listing))
    pairs = zip(listing.paths, listing.class_names, strict=True)
    found = count([class_name for path, class_name in pairs if path not in absent])
    if absent:
        return found, f"{len(absent):,} listed images are not there"
    return found, "as in Table 2" if found == OFFICIAL[name].published else "differs from Table 2"


def _cells(counts: Counts) -> tuple[str, str, str]:
    low, high = counts.smallest, counts.largest
    span = str(low) if low == high else f"{low}–{high}"
    return f"{counts.images:,}", f"{counts.classes:,}", span
