"""Networks of plugins by name, and the decorator that registers them.

A plain function returns the network; its keyword parameters become keys of ``model``, as those of a
statistic become keys of ``statistic``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial
from typing import Any, TypeVar

from fnx.config.schema import ModelConfig, PreprocessConfig, WeightsConfig, option
from fnx.errors import PluginError
from fnx.registry.registry import Entry, Registry, described
from fnx.registry.signatures import read_parameters

F = TypeVar("F", bound=Callable[..., Any])

#: Before the name of a plugin's network, where timm's name of an architecture would stand.
PREFIX = "plugin:"
_OWN_KEYS = tuple(item.name for item in fields(ModelConfig))


@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneEntry(Entry):
    """A function that returns a network, and what fnx must know of it; see `backbone`."""

    group = "model"
    preprocess: PreprocessConfig
    input_size: int | None
    classifier: tuple[str, ...]
    modules: tuple[str, ...]
    prefix_tokens: int

    # In caches an entry stands for its network: one that is defined anew is another.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def config_class(self) -> type[Any]:
        """Return the config dataclass of ``model=NAME``: `ModelConfig` and the parameters."""
        told = {item.name: item.metadata for item in fields(ModelConfig)}

        def default(name: str, value: Any) -> Any:
            return field(default=value, metadata=told[name])

        own: list[tuple[str, Any, Any]] = [
            ("name", str, default("name", self.name)),
            ("timm_name", str, default("timm_name", PREFIX + self.name)),
            ("input_size", int | None, default("input_size", self.input_size)),
            ("weights", WeightsConfig, field(default_factory=partial(WeightsConfig, "function"))),
            ("preprocess", PreprocessConfig, field(default_factory=partial(copy, self.preprocess))),
        ]
        for key, parameter in self.parameters.items():
            own.append((key, parameter.type, option(parameter.default, help="see the plugin")))
        made = make_dataclass(f"model_{self.name}", own, bases=(ModelConfig,))
        made.__doc__ = self.summary
        return made

    def call_name(self, config: ModelConfig) -> str:
        """Return the network's name with its parameters: what tells it from any other.

        >>> from fnx.registry import backbones
        >>> @backbone("doctest_net")
        ... def doctest_net(width: int = 8):
        ...     ...
        >>> entry = backbones.get("doctest_net")
        >>> entry.call_name(entry.config_class()(width=16))
        'plugin:doctest_net{"width": 16}'
        """
        values = {key: getattr(config, key) for key in self.parameters}
        values = self.bind(values)
        return f"{PREFIX}{self.name}" + (json.dumps(values, sort_keys=True) if values else "")


backbones = Registry(BackboneEntry)


def parse_call_name(name: str) -> tuple[BackboneEntry, dict[str, Any]] | None:
    """Return the entry and the parameters that `BackboneEntry.call_name` named; None if none.

    Raises:
        ConfigError: the plugin is not loaded.
    """
    if not name.startswith(PREFIX):
        return None
    own, brace, values = name.removeprefix(PREFIX).partition("{")
    return backbones.get(own), json.loads(brace + values) if brace else {}


def backbone(
    name: str,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float = 1.0,
    channels: str = "RGB",
    input_size: int | None = None,
    classifier: str | Sequence[str] = (),
    modules: str | Sequence[str] = (),
    prefix_tokens: int = 0,
) -> Callable[[F], F]:
    """Register a function that returns a network; the function itself is unchanged.

    The network is a `torch.nn.Module` with its weights in it, called with one tensor of images,
    float32 (B, 3, S, S), S = ``crops.size``. What it returns does not matter: its layers are found
    by running it, and each is averaged over everything but image and unit. It may also return the
    network and its preprocessing: anything with ``mean`` and ``std`` (a torchvision transform, a
    dictionary of timm's) or ``image_mean`` and ``image_std`` (a Hugging Face processor).

    Keyword parameters with a type and a default become keys of ``model``. Parameters, the state
    dict and the network's structure are part of the embedding's fingerprint. The function is called
    with torch's random state seeded.

    Args:
        name: what ``model=NAME`` calls it.
        mean: mean of each channel, in the network's order and in units of `scale`; default: that
            of the preprocessing returned, or ImageNet's.
        std: standard deviation, likewise.
        scale: pixels are scaled to 0…scale (1 or 255) before `mean` and `std`.
        channels: "RGB" or "BGR".
        input_size: side in pixels of the images it was trained on; other sizes log a warning.
        classifier: paths or globs of the final classifier, which is read only when it is named;
            those that match no module do not matter where another does.
        modules: paths or globs of further modules to read beside convolutions, linear layers and
            modules that hold weights of their own: ``"encoder.layers.*"``. Their units are the
            last axis of (B, C) and (B, tokens, C), else the second.
        prefix_tokens: class and register tokens in front of the others, which have no place in the
            image and are averaged only with ``model.class_token=true``.

    Raises:
        PluginError: the declaration cannot work, or another network has the name.
    """
    kind = described("model", name)
    if channels not in ("RGB", "BGR"):
        raise PluginError(f"{kind}: channels='{channels}'; allowed: RGB, BGR")
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and (len(values) != 3 or (key == "std" and 0 in values)):
            raise PluginError(f"{kind}: {key}={values}: must be 3 numbers, std not 0")

    def register(function: F) -> F:
        parameters = read_parameters(kind, function, positional=0)
        if taken := sorted(set(parameters) & set(_OWN_KEYS)):
            raise PluginError(f"{kind}: '{taken[0]}' is fnx's own parameter")
        backbones.register(
            BackboneEntry(
                name=name,
                function=function,
                parameters=parameters,
                preprocess=PreprocessConfig(
                    channels,
                    float(scale),
                    None if mean is None else [float(value) for value in mean],
                    None if std is None else [float(value) for value in std],
                ),
                input_size=input_size,
                classifier=_paths(classifier),
                modules=_paths(modules),
                prefix_tokens=prefix_tokens,
            )
        )
        return function

    return register


def _paths(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
