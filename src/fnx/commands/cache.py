"""``python -m fnx cache``: the embeddings below ``paths.cache``, their users and their removal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fnx.config.compose import compose
from fnx.embedding.cache import Cached, cached, remove, remove_left_over, size
from fnx.errors import ConfigError, DataError, unknown
from fnx.report.page.library import SHARED
from fnx.report.terminal.terminal import Terminal, facts, table
from fnx.utils.text import amount, printable

UNUSED = "unused"
_OTHERS = {
    "checked": "what is known of images that were checked",
    SHARED: "what the pages of runs share",
}


def main(arguments: Sequence[str]) -> None:
    """List embeddings, or remove those that are named.

    Raises:
        ConfigError: an override that names no key.
        DataError: an embedding that is not there or in use; nobody to be asked.
    """
    options = _parser().parse_args(arguments)
    words = [*options.words, *(options.remove or ())]
    overrides = [word for word in words if word.startswith("paths.")]
    if wrong := [word for word in words if "=" in word and word not in overrides]:
        raise ConfigError(f"{wrong[0]}: allowed are paths.cache=PATH and paths.outputs=PATH")
    paths = compose(overrides).paths
    cache, outputs = Path(paths.cache), Path(paths.outputs)
    found = cached(cache, outputs) if cache.is_dir() else []
    if options.remove is not None:
        names = [word for word in options.remove if word not in overrides]
        _remove(_chosen(names, found, cache), options.yes, outputs)
        if cache.is_dir():
            remove_left_over(cache)
        return
    names = [word for word in options.words if word not in overrides]
    chosen = _chosen(names, found, cache) if names else found
    if options.json:
        others = [{"name": name, "bytes": size(cache / name)} for name in _beside(cache)]
        told = {"cache": str(cache), "outputs": str(outputs), "others": others}
        told["embeddings"] = [as_json(entry) for entry in chosen]
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    elif names:
        Terminal(sys.stdout).print(part for entry in chosen for part in _details(entry))
    else:
        Terminal(sys.stdout).print(_listing(found, cache, outputs))
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fnx cache",
        description="List the embeddings below paths.cache: how large they are, what they were made"
        " with, and how many finished runs below paths.outputs use them; or remove some.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME|KEY=VALUE",
        help="an embedding, by its name or the fingerprint at its end, of which all is shown;"
        " paths.cache=PATH or paths.outputs=PATH, as of a run",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    parser.add_argument(
        "--remove",
        nargs="+",
        metavar="NAME",
        help=f"remove these embeddings; {UNUSED}: all that no finished run uses",
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    return parser


def _chosen(names: Sequence[str], found: Sequence[Cached], cache: Path) -> list[Cached]:
    """Return the embeddings that names, fingerprints or ``unused`` stand for, each once.

    Raises:
        DataError: a name that is none.
    """
    chosen: dict[Path, Cached] = {}
    for name in names:
        if name == UNUSED:
            some = [entry for entry in found if not entry.runs]
        else:
            some = [entry for entry in found if name in _called(entry)]
        if not some and name != UNUSED:
            if (cache / name).is_symlink():
                raise DataError(f"{cache / name} is a link: nothing outside {cache} is removed")
            if (cache / name).exists():
                raise DataError(f"{cache / name} is not an embedding of fnx")
            raise DataError(unknown("embedding", name, [entry.path.name for entry in found]))
        chosen |= {entry.path: entry for entry in some}
    return list(chosen.values())


def _called(entry: Cached) -> tuple[str, ...]:
    return entry.path.name, entry.path.name.rpartition("-")[2]


def _remove(chosen: Sequence[Cached], yes: bool, outputs: Path) -> None:
    terminal = Terminal(sys.stdout)
    if not chosen:
        terminal.print(["nothing to remove"])
        return
    terminal.print([_table(chosen)])
    total = amount(sum(entry.bytes for entry in chosen))
    if not yes:
        if not sys.stdin.isatty():
            raise DataError("nothing is removed, for nobody can be asked here: add --yes")
        used = sum(bool(entry.runs) for entry in chosen)
        whose = f"{used} used by runs below {outputs}" if used else f"no run below {outputs} uses"
        whose += "" if used else " them; runs elsewhere are not known"
        sys.stdout.write(printable(f"remove {len(chosen)} ({total}; {whose})? [y/N] "))
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            terminal.print(["nothing is removed"])
            return
    refused = []
    for entry in chosen:
        try:
            remove(entry)
        except DataError as error:
            refused.append(str(error))
        else:
            terminal.print([f"removed {entry.path.name} ({amount(entry.bytes)})"])
    if refused:
        raise DataError("; ".join(refused))


def _listing(found: Sequence[Cached], cache: Path, outputs: Path) -> Iterable[Any]:
    if not found:
        yield f"no embeddings in {cache} (paths.cache, or FNX_CACHE)"
        return
    total = amount(sum(entry.bytes for entry in found))
    noun = "embedding" if len(found) == 1 else "embeddings"
    yield f"{len(found)} {noun} in {cache} (paths.cache, or FNX_CACHE), {total}"
    yield ""
    yield _table(found)
    others = [f"{name} ({amount(size(cache / name))}, {_OTHERS[name]})" for name in _beside(cache)]
    if others:
        yield ""
        yield f"beside them: {', '.join(others)}"
    unused = [entry for entry in found if not entry.runs]
    if unused:
        yield ""
        yield (
            f"{len(unused)} used by no finished run below {outputs}, "
            f"{amount(sum(entry.bytes for entry in unused))}: python -m fnx cache --remove {UNUSED}"
        )


def _beside(cache: Path) -> list[str]:
    return [name for name in _OTHERS if (cache / name).is_dir()]


def _table(found: Sequence[Cached]) -> Any:
    heads = ("embedding", "images × features", "size", "runs", "last use", "recipe")
    rows = [
        (
            entry.path.name,
            _shape(entry),
            amount(entry.bytes),
            str(len(entry.runs)) if entry.runs else ("–", "dim"),
            f"{entry.used:%Y-%m-%d}",
            words(entry),
        )
        for entry in found
    ]
    return table(rows, "/>>>~/", heads)


def _shape(entry: Cached) -> str:
    if entry.manifest is None:
        return "–"
    rows, features = entry.manifest.rows, entry.manifest.features
    done = "" if entry.manifest.complete else f"{entry.rows_done:,} of "
    return f"{done}{rows:,} × {features:,}"


def _details(entry: Cached) -> Iterable[Any]:
    yield entry.path.name
    yield facts(
        [
            ("folder", str(entry.path)),
            ("state", entry.state),
            ("images", f"{_shape(entry)} features"),
            ("size", amount(entry.bytes)),
            ("recipe", words(entry)),
            ("weights", str(entry.recipe.get("weights", "–"))),
            ("last use", f"{entry.used:%Y-%m-%d %H:%M}"),
            *(("run" if place else "runs", str(run)) for place, run in enumerate(entry.runs)),
        ]
    )


def words(entry: Cached) -> str:
    """Say what an embedding was made with: network, layers, tap, crops, precision."""
    if entry.manifest is None:
        return "damaged, or of another version"
    inputs = entry.recipe
    crops = inputs.get("crops", {})
    layers = inputs.get("layers", "all")
    parts = [
        "" if entry.manifest.complete else "unfinished",
        str(inputs.get("network", "?")),
        f"{', '.join(map(str, layers)) if isinstance(layers, list) else layers} layers",
        f"{inputs.get('tap', '?')}-activation",
        f"{crops.get('name', '?')} crops of {crops.get('size', '?')} px",
        str(inputs.get("precision", "?")),
        "class token" if inputs.get("class_token") else "",
        "compiled" if inputs.get("compile") else "",
    ]
    return ", ".join(part for part in parts if part)


def as_json(entry: Cached) -> dict[str, Any]:
    """Return an entry as ``--json`` prints it."""
    manifest = entry.manifest
    return {
        "name": entry.path.name,
        "path": str(entry.path),
        "state": entry.state,
        "rows": None if manifest is None else manifest.rows,
        "rows_done": entry.rows_done,
        "features": None if manifest is None else manifest.features,
        "fingerprint": None if manifest is None else manifest.fingerprint,
        "bytes": entry.bytes,
        "last_use": entry.used.isoformat(timespec="seconds"),
        "runs": [str(run) for run in entry.runs],
        "recipe": entry.recipe,
    }
