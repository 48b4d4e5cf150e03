"""The names of classes as people read them: tidied, and refused or warned of where they mislead."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fnx.errors import DataError
from fnx.images.dataset import Listing
from fnx.images.paths import shown

log = logging.getLogger(__name__)

_LONGEST = 1000  # characters of a name
_NAMED = 10  # groups of names in a warning
_SEPARATORS = ";|\n\t,+&"
_USUAL = ",+&"  # within one name
_APART = "dataset.label_separator=… takes them apart"
#: Characters without ink that Unicode does not count among controls and formats.
_BLANK = re.compile("[\u034f\u115f\u1160\u2800\u3164\ufe00-\ufe0f]")


def tidy(name: str) -> str:
    r"""Return a name in Unicode's composed form (NFC), without blanks around it.

    >>> tidy(" cafe\u0301 ")
    'café'
    """
    valid = name.encode(errors="backslashreplace").decode()
    return unicodedata.normalize("NFC", valid).strip()


def tidied(listing: Listing) -> Listing:
    """Return the listing with tidy names of classes and splits, and its images class by class.

    Names that then differ only in letter case or by what cannot be seen are warned of.

    Raises:
        DataError: a name that is empty, too long, or holds several classes.
    """
    if listing.concepts is not None:
        return _tidied_concepts(listing)
    known = {name: tidy(name) for name in listing.classes}
    names = [None if name is None else known[name] for name in listing.class_names]
    for path, name in zip(listing.paths, names, strict=True):
        if name == "":
            raise DataError(f"the class of {shown(path)} has no name: it is empty or blank")
        if name is not None and len(name) > _LONGEST:
            raise DataError(
                f"the class of {shown(path)} has a name of {len(name):,} characters, at most "
                f"{_LONGEST:,} are allowed: {shown(name)}"
            )
    classes = list(dict.fromkeys(known.values()))
    _check_separators(classes)
    _warn_of_alike(classes)
    splits = [None if split is None else tidy(split) for split in listing.splits]
    if len(classes) == len(known):
        return replace(listing, class_names=names, splits=splits)
    order: dict[str | None, int] = {name: place for place, name in enumerate([None, *classes])}
    rows = sorted(range(len(names)), key=lambda row: order[names[row]])
    return replace(listing, class_names=names, splits=splits).take(rows)


def _tidied_concepts(listing: Listing) -> Listing:
    """Return the listing with tidy names of concepts and splits.

    Raises:
        DataError: a name that is too long.
    """
    known = {name: tidy(name) for name in (*listing.classes, *listing.concept_order)}
    for name in known.values():
        if len(name) > _LONGEST:
            raise DataError(f"a concept has a name of {len(name):,} characters: {shown(name)}")
    _warn_of_alike(dict.fromkeys(known.values()))
    assert listing.concepts is not None
    own = ([known[name] for name in names if known[name]] for names in listing.concepts)
    return replace(
        listing,
        concepts=[list(dict.fromkeys(names)) for names in own],
        concept_order=list(dict.fromkeys(known[name] for name in listing.concept_order)),
        splits=[None if split is None else tidy(split) for split in listing.splits],
    )


def _check_separators(classes: Sequence[str]) -> None:
    """Refuse names that hold several classes, and warn of those that may.

    They do if each of their parts stands in another name too, unless the separator is usual within
    one name.
    """
    for separator in _SEPARATORS:
        parts = {name: _parts(name, separator) for name in classes}
        holders = Counter(part for found in parts.values() for part in found)
        joined = [name for name in classes if len(parts[name]) > 1]
        shared = [name for name in joined if all(holders[part] > 1 for part in parts[name])]
        certain = [name for name in shared if separator not in _USUAL or _is_list(name)]
        if certain:
            raise DataError(
                f"{len(certain)} labels hold several classes, separated by {separator!r}, as "
                f"{shown(certain[0])}: each image must have one class ({_APART})"
            )
        doubtful = shared if separator in _USUAL else joined
        if doubtful:
            log.warning(
                "%d names of classes hold %r, as %s: each is taken for one class (%s)",
                len(doubtful),
                separator,
                shown(doubtful[0]),
                _APART,
            )


def _parts(name: str, separator: str) -> set[str]:
    """Return what stands between separators, each once, also in a list as Python writes it."""
    inner = name[1:-1] if _is_list(name) else name
    return {part for text in inner.split(separator) if (part := text.strip(" '\""))}


def _is_list(name: str) -> bool:
    return (name[:1], name[-1:]) in {("[", "]"), ("(", ")"), ("{", "}")}


def _warn_of_alike(classes: Iterable[str]) -> None:
    """Warn of names that a reader could not tell apart."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_to_the_eye(name), []).append(name)
    groups = [", ".join(map(ascii, names)) for names in alike.values() if len(names) > 1]
    if groups:
        log.warning(
            "classes whose names differ only in letter case or by what cannot be seen: %s%s",
            "; ".join(groups[:_NAMED]),
            " …" if len(groups) > _NAMED else "",
        )


def _to_the_eye(name: str) -> str:
    """Return what a reader sees of a name: no letter case, no invisible characters, one blank."""
    folded = _BLANK.sub("", unicodedata.normalize("NFC", name.casefold()))
    seen = (c for c in folded if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join("".join(seen).split())
