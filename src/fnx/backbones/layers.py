"""Layers of a network by name, and the choice of those that make up the embedding."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fnx.errors import ConfigError, unknown

KINDS = ("all", "conv", "fc")
_LISTED = 30  # names that still make a readable line


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer of a network.

    Attributes:
        name: how people call it: the paper's name where there is one, else the module path.
        units: number of filters or neurons, each one feature of the embedding.
        kind: "conv" (any convolution), "fc" (any linear layer) or "other".
        module: path of the layer in timm's module tree.
        output: whether it is the final classifier, which is read only when it is named.
    """

    name: str
    units: int
    kind: str
    module: str
    output: bool = False


def select(
    layers: Sequence[Layer], spec: Any, unseen: Mapping[str, str] | None = None
) -> list[Layer]:
    """Return the layers that `spec` asks for, in the order of the network.

    Args:
        layers: all layers of the network.
        spec: ``"all"``, ``"conv"`` or ``"fc"`` (without the final classifier), or names and globs
            (one string or several), which reach the classifier too.
        unseen: layers that cannot be read, with the reason.

    Raises:
        ConfigError: naming the first name or glob that matches no layer.

    >>> layers = [Layer("conv1_1", 64, "conv", "features.0"), Layer("fc6", 4096, "fc", "fc1")]
    >>> [layer.name for layer in select(layers, "conv")]
    ['conv1_1']
    >>> [layer.name for layer in select(layers, ["fc?", "conv1_1"])]
    ['conv1_1', 'fc6']
    """
    if spec in KINDS:
        chosen = [layer for layer in layers if spec in ("all", layer.kind) and not layer.output]
        if chosen:
            return chosen
    patterns = [spec] if isinstance(spec, str) else spec
    if not isinstance(patterns, Iterable) or not (patterns := list(patterns)):
        raise ConfigError(f"model.layers={spec}: allowed are {', '.join(KINDS)}, names and globs")
    wanted: set[str] = set()
    for pattern in patterns:
        # A layer's own name goes before a kind: ResNet's classifier is called "fc".
        found = {layer.name for layer in layers if fnmatch.fnmatchcase(layer.name, str(pattern))}
        if not found and pattern in KINDS and len(patterns) > 1:
            found = {layer.name for layer in layers if pattern in ("all", layer.kind)}
            found -= {layer.name for layer in layers if layer.output}
        if not found and (why := (unseen or {}).get(str(pattern))) is not None:
            raise ConfigError(f"layer '{pattern}' cannot be read: {why}")
        if not found:
            raise ConfigError(_no_such(str(pattern), layers))
        wanted |= found
    return [layer for layer in layers if layer.name in wanted]


def _no_such(pattern: str, layers: Sequence[Layer]) -> str:
    names = [layer.name for layer in layers]
    if len(names) <= _LISTED:
        kinds = [k for k in KINDS if k == "all" or any(layer.kind == k for layer in layers)]
        return unknown("layer", pattern, [*names, *kinds])
    import difflib

    close = difflib.get_close_matches(pattern, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    some = ", ".join([*names[:4], "…", *names[-4:]])
    return (
        f"unknown layer '{pattern}'{hint}; allowed: {', '.join(KINDS)}, "
        f"names and globs of the {len(names)} layers {some}"
    )
