"""What the reference generates from the code: configuration keys, options, statistics, commands.

A page asks for a part by a line ``<!-- generated: NAME -->``, NAME being a function of `PARTS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from fnx.cli import COMMANDS
from fnx.config import compose, schema
from fnx.config.help import help_text
from fnx.registry import load_folder, statistics, thresholds

ROOT = Path(__file__).parents[2]
_ASKED = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
_WIDTH = 92  # columns of the text of --help


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts into a page."""
    return _ASKED.sub(lambda asked: PARTS[asked[1]](), markdown)


def keys() -> str:
    """Return a table of the keys of each group: type, default, allowed values, help."""
    parts, single = [], []
    for item in dataclasses.fields(schema.Config):
        node: Any = item.default_factory
        if dataclasses.is_dataclass(node):
            rows = list(_rows(node, item.name))
            parts += [f"### `{item.name}` {{ #{item.name} }}", node.__doc__, _keys_table(rows)]
        elif item.name not in ("statistic", "threshold"):
            single.append(_row(item, item.name))
    return "\n\n".join([*parts, "### Without a group { #without-a-group }", _keys_table(single)])


def options() -> str:
    """Return, for each group with files in ``conf/``, its options and what each of them sets."""
    defaults, parts = compose.default_options(), []
    for folder in sorted(path for path in compose.CONF.iterdir() if path.is_dir()):
        if folder.name == "hydra":
            continue
        parts.append(f"### `{folder.name}=` {{ #{folder.name}-options }}")
        rows = []
        for file in sorted(folder.glob("*.yaml")):
            chosen = " (default)" if file.stem == defaults.get(folder.name) else ""
            comment = re.match(r"(?:#(?! @package) (.*)\n)?", file.read_text())
            about = comment[1] or "" if comment else ""
            values = ", ".join(f"`{key}={value}`" for key, value in _flat(OmegaConf.load(file)))
            rows.append([f"`{file.stem}`{chosen}", about, values])
        parts.append(_table(["option", "", "sets"], rows))
    return "\n\n".join(parts)


def statistic() -> str:
    """Return every statistic of fnx and of its plugin packages, with its parameters."""
    return _entries(statistics, "statistic")


def threshold() -> str:
    """Return every threshold strategy of fnx and of its plugin packages, with its parameters."""
    return _entries(thresholds, "threshold")


def command_help() -> str:
    """Return what ``--help`` prints of each command."""
    parts = []
    for name, about in COMMANDS.items():
        printed = io.StringIO()
        with _columns(), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            importlib.import_module(f"fnx.commands.{name}").main(["--help"])
        text = printed.getvalue().rstrip()
        line = about[0].upper() + about[1:]
        parts.append(f"### `{name}` {{ #{name} }}\n\n{line}.\n\n```text\n{text}\n```")
    return "\n\n".join(parts)


def run_help() -> str:
    """Return what ``python -m fnx --help`` prints before it lists the keys."""
    with _columns():
        text = help_text(COMMANDS)
    return f"```text\n{text.partition('Keys (GROUP.KEY=VALUE)')[0].rstrip()}\n```"


PARTS = {
    part.__name__: part for part in (keys, options, statistic, threshold, command_help, run_help)
}


def _rows(node: Any, prefix: str) -> Iterator[list[str]]:
    for item in dataclasses.fields(node):
        inner: Any = item.default_factory
        if dataclasses.is_dataclass(inner):
            yield from _rows(inner, f"{prefix}.{item.name}")
        else:
            yield _row(item, f"{prefix}.{item.name}")


def _row(item: Any, key: str) -> list[str]:
    """Return key, type, default and meaning, with the values allowed, of a field of the schema."""
    made = item.default_factory
    default = item.default if made is dataclasses.MISSING else made()
    allowed = [f"`{choice}`" for choice in item.metadata["choices"]]
    if (least := item.metadata["minimum"]) is not None:
        allowed.append(f"a number from {least:g}")
    meaning = item.metadata["help"] + (f"<br>Allowed: {', '.join(allowed)}" if allowed else "")
    kind = "value" if item.type == "Any" else item.type.replace("None", "null")
    kind = "path" + kind.removeprefix("str") if item.metadata["path"] else kind
    shown = "set by the option" if default == schema.MISSING else _code(default)
    return [f"`{key}`", kind.replace(" | ", " or "), shown, meaning]


def _keys_table(rows: list[list[str]]) -> str:
    return _table(["key", "type", "default", "meaning"], rows)


def _entries(registry: Any, group: str) -> str:
    """Return the entries of a registry: docstring without examples, range, parameters, package."""
    load_folder(ROOT / "plugins")
    parts = []
    for entry in sorted(registry, key=lambda one: one.package != "fnx"):
        about = re.sub(r"\n\s*>>>.*", "", inspect.getdoc(entry.function) or "", flags=re.S)
        about, facts = re.sub(r"(`[^`]*`)|\*", lambda m: m[1] or r"\*", about), []
        if entry.package != "fnx":
            facts.append(f"From the plugin package `{entry.package.replace('_', '-')}`.")
        if group == "statistic":
            low, high = (_code(value) for value in entry.range)
            sign = "presence above, absence below" if entry.signed else "without a sign"
            facts.append(f"Range {low} … {high}, neutral value {_code(entry.neutral)}: {sign}.")
            facts.append("Can be calibrated." if entry.calibratable else "Cannot be calibrated.")
        rows = [
            [f"`{group}.{key}`", _kind(one.type), _code(one.default)]
            for key, one in entry.parameters.items()
        ]
        table = _table(["key", "type", "default"], rows) if rows else ""
        heading = f"### `{entry.name}` {{ #{group}-{entry.name} }}"
        parts += [heading, about, " ".join(facts), table]
    return "\n\n".join(part for part in parts if part)


def _kind(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return name.replace("None", "null").replace(" | ", " or ")


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield what an option's file sets, as dotted keys; other files that it takes in are named."""
    for key in node:
        value = node._get_node(key)
        if key == "defaults" and not prefix:
            yield from (
                (str(name).removeprefix("override /"), str(chosen))
                for one in node[key]
                if isinstance(one, DictConfig)
                for name, chosen in one.items()
            )
        elif isinstance(value, DictConfig) and not value._is_none():
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, ListConfig):
            yield f"{prefix}{key}", _plain(OmegaConf.to_container(value, resolve=False))
        else:
            yield f"{prefix}{key}", _plain(value._value())


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(_plain, value))}]" if isinstance(value, list) else str(value)


def _code(value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) else _plain(value)
    return f"`{shown}`"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", r"\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


@contextlib.contextmanager
def _columns() -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_WIDTH)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
