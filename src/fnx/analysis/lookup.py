"""Finds classes, layers and features of a run by what a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

import polars as pl

from fnx.analysis.run import Run
from fnx.errors import DataError, unknown

SUGGESTIONS = 5
DIGITS = 9  # of a number of a class or unit: an Int32 holds them
COMPARED = 200  # characters of names that are compared letter by letter
SHOWN = 80  # characters of a name in a message


def find_class(run: Run, word: str) -> int:
    """Return the id of the class that `word` names: its name, its id, or the beginning of one name.

    Upper and lower case are one, unless that leaves two; a name goes before an id.

    Raises:
        DataError: there is none, or several; naming what is near.
    """
    names = run.classes["class_name"].to_list()
    found = _named(word, names)
    number = whole(word)
    if not found and number is not None and number < len(names):
        return number
    return _only("class", word, found or _beginning(word, names), names)


def find_layer(run: Run, word: str) -> str:
    """Return the layer that `word` names: its name, or the beginning of one name.

    Raises:
        DataError: there is none, or several; naming what is near.
    """
    names: list[str] = run.features["layer"].unique(maintain_order=True).to_list()
    return names[_only("layer", word, _named(word, names) or _beginning(word, names), names)]


def in_layers(features: pl.DataFrame, layers: str | Sequence[str] | None) -> pl.DataFrame:
    """Return the rows of a table of features that lie in some layers, named or by globs.

    Raises:
        DataError: a name or glob of no layer.

    >>> table = pl.DataFrame({"layer": ["conv1", "conv2", "fc"]})
    >>> in_layers(table, "conv*").height, in_layers(table, ["fc", "conv1"])["layer"].to_list()
    (2, ['conv1', 'fc'])
    """
    if layers is None:
        return features
    names = features["layer"].unique(maintain_order=True).to_list()
    wanted: set[str] = set()
    for pattern in [layers] if isinstance(layers, str) else layers:
        found = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
        if not found:
            raise DataError(unknown("layer", pattern, names))
        wanted.update(found)
    return features.filter(pl.col("layer").is_in(list(wanted)))


def find_feature(run: Run, word: str) -> int:
    """Return the id of the feature that `word` names, as conv4_3/458.

    Raises:
        DataError: there is no such layer or unit, or it is not LAYER/UNIT.
    """
    if "name" in run.features.columns:
        names = run.features["name"].to_list()
        if found_by_name := _named(word, names):
            return _only("feature", word, found_by_name, names)
    layer_word, slash, unit = word.rpartition("/")
    number = whole(unit)
    if not slash or number is None:
        raise DataError(f"'{shown(word)}' is not a feature: LAYER/UNIT, as conv4_3/458")
    layer = find_layer(run, layer_word)
    rows = run.features.filter(pl.col("layer") == layer)
    found = rows.filter(pl.col("unit") == number)
    if found.is_empty():
        units = rows["unit"].sort().to_list()
        raise DataError(f"no unit {unit} in {layer}: it has the units {units[0]} to {units[-1]}")
    return int(found["feature_id"][0])


def whole(text: str) -> int | None:
    """Return the number that a text of digits is; None for others, and for far too many digits."""
    return int(text) if text.isdecimal() and len(text) <= DIGITS else None


def shown(text: str) -> str:
    """Cut a long text, for a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _named(word: str, names: Sequence[str]) -> list[int]:
    exact = [i for i, name in enumerate(names) if name == word]
    folded = word.casefold()
    return exact or [i for i, name in enumerate(names) if name.casefold() == folded]


def _beginning(word: str, names: Sequence[str]) -> list[int]:
    folded = word.casefold()
    return [i for i, name in enumerate(names) if word and name.casefold().startswith(folded)]


def _only(kind: str, word: str, found: Sequence[int], names: Sequence[str]) -> int:
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{kind} '{shown(word)}' may be {_some([names[i] for i in found])}")
    folded = {name.casefold(): name for name in names}
    inside = [name for key, name in folded.items() if word.casefold() in key] if word else []
    short = [key for key in folded if len(key) <= COMPARED]
    near = difflib.get_close_matches(word.casefold()[:COMPARED], short, n=SUGGESTIONS)
    close = list(dict.fromkeys([*inside, *(folded[key] for key in near)]))
    hint = f"; near: {_some(close)}" if close else f"; there are {_some(names)}"
    raise DataError(f"no {kind} '{shown(word)}'{hint}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SUGGESTIONS:,} more" if len(names) > SUGGESTIONS else ""
    return ", ".join(map(shown, names[:SUGGESTIONS])) + more
