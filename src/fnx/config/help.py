"""What ``--help`` prints: how to call fnx, its commands, the options of each group, every key."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from fnx.config import schema
from fnx.config.compose import default_options, options
from fnx.registry import Registry, backbones, statistics, thresholds

_WIDEST, _NARROWEST = 100, 60
_COLUMN = 31  # where the description of a key begins

_USAGE = """\
fnx shows what every feature of a pretrained network says about every class of a labelled image set:
by its presence, by its absence, or only noise.

Usage
  python -m fnx                                  the embedded default
  python -m fnx dataset=folder dataset.root=PATH model=vgg16
  python -m fnx -m statistic=ks,ks_exact         a sweep; embeddings are reused
  python -m fnx --cfg job                        show the configuration, run nothing
  eval "$(fnx --shell-completion install=bash)"  tab completion
"""
_END = """
Exit code 0: done; 2: something you can fix, in one line (debug=true: with traceback);
128 and more: ended by a signal. A path or name may hold any character; see docs/command-line.md.
Hydra's own flags: --hydra-help. Documentation: docs/ and README.md."""


def help_text(commands: Mapping[str, str]) -> str:
    """Return the text of ``--help``.

    Args:
        commands: the commands beside a run, each with its description.
    """
    lines = [_USAGE, "Commands (python -m fnx COMMAND --help)"]
    lines += [_entry(2, name, text) for name, text in commands.items()]
    lines += ["", "Options (GROUP=OPTION)"]
    defaults = default_options()
    names = [item.name for item in dataclasses.fields(schema.Config)]
    for group, found in options(*names, "experiment").items():
        if found:
            marked = (f"[{one}]" if one == defaults.get(group) else one for one in found)
            lines.append(_entry(2, group, ", ".join(marked)))
    lines += ["  [in brackets: the default]", "", "Keys (GROUP.KEY=VALUE)"]
    for item in dataclasses.fields(schema.Config):
        node: Any = item.default_factory
        if dataclasses.is_dataclass(node):
            lines += [f"  {item.name}: {node.__doc__}", *_keys(node, item.name)]
            if item.name == "model":
                lines += _parameters("model")
        elif item.name in ("statistic", "threshold"):
            lines += [f"  {item.name}: {item.metadata['help']}", *_parameters(item.name)]
        else:
            lines.append(_entry(2, item.name, f"{item.metadata['help']} [{item.default}]"))
    return "\n".join([*lines, _END])


def _keys(node: Any, prefix: str) -> Iterator[str]:
    for item in dataclasses.fields(node):
        key = f"{prefix}.{item.name}"
        inner: Any = item.default_factory
        if dataclasses.is_dataclass(inner):
            yield from _keys(inner, key)
            continue
        choices = item.metadata["choices"] if item.metadata["minimum"] is None else ()
        allowed = f" ({'|'.join(choices)})" if choices else ""
        yield _entry(4, key, item.metadata["help"] + allowed)


def _parameters(group: str) -> Iterator[str]:
    """Yield what plugins can add to, each entry with its description and its parameters."""
    registries: dict[str, Registry[Any]] = {
        "statistic": statistics,
        "threshold": thresholds,
        "model": backbones,
    }
    for entry in registries[group]:
        yield _entry(4, entry.name, entry.summary)
        for key, parameter in entry.parameters.items():
            default = "null" if parameter.default is None else parameter.default
            yield _entry(6, f"{group}.{key}", f"default {default}")


def _entry(indent: int, name: str, text: str) -> str:
    """Return a name and its description, folded at the terminal's width in a column of its own."""
    label = f"{' ' * indent}{name} ".ljust(_COLUMN)
    width = min(_WIDEST, max(_NARROWEST, shutil.get_terminal_size().columns))
    folded = textwrap.wrap(text, width - len(label), break_on_hyphens=False)
    return label + f"\n{' ' * _COLUMN}".join(folded)
