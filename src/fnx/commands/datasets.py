"""`python -m fnx.datasets`: the paper's Table 2, beside what is found on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fnx import cli
from fnx.config.schema import DatasetConfig
from fnx.errors import FnxError
from fnx.images.layouts import readers
from fnx.images.official import OFFICIAL, Counts, count

_ROW = "{:<13}{:>9}{:>8}{:>10}   {:>9}{:>8}{:>10}   {}"


def main() -> None:
    """Print the table; words are those of the command line, as `paths.data=PATH`."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        sys.stdout.write(
            "python -m fnx.datasets [paths.data=PATH]: Table 2 of the paper, and what is found.\n"
        )
        return
    try:
        for line in table(words):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except Exception as error:
        if not isinstance(error, FnxError) and not type(error).__module__.startswith(
            ("hydra", "omegaconf")
        ):
            raise
        sys.stderr.write(f"fnx: {cli.one_line(error)}\n")
        sys.exit(cli.USER_ERROR)


def table(overrides: Sequence[str] = ()) -> list[str]:
    """Lines of the table: what the paper counts, what lies here, and how to get what does not.

    Images are counted by the lists of their data set as far as their files are there; they are not
    opened.

    Raises:
        FnxError: an override that cannot be taken.
    """
    data = cli.compose(list(overrides)).paths.data
    lines = [
        f"data sets in {data} (paths.data, or FNX_DATA)",
        "",
        _ROW.format("", "Table 2", "", "", "found", "", "", "").rstrip(),
        _ROW.format("", *2 * ("images", "classes", "a class"), "").rstrip(),
    ]
    hints = []
    for name, data_set in OFFICIAL.items():
        found, state = _found(name, f"{data}/{name}")
        if found is not None and found != data_set.published and data_set.note:
            state += f" ({data_set.note})"
        cells = ("–", "–", "–") if found is None else _cells(found)
        lines.append(_ROW.format(name, *_cells(data_set.published), *cells, state))
        if found is None:
            hints.append(name)
    if hints:
        public = [name for name in hints if OFFICIAL[name].public]
        account = [name for name in hints if not OFFICIAL[name].public]
        lines.append("")
        if public:
            lines.append(f"fetch:   python -m fnx dataset={public[0]} dataset.download=true")
        lines += [f"account: {name} at {OFFICIAL[name].page}" for name in account]
    return lines


def _found(name: str, root: str) -> tuple[Counts | None, str]:
    """The counts of the files that are there, or None, and what there is to say."""
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


if __name__ == "__main__":
    main()
