"""Networks, timm's and those of plugins, by name: built for an image size, and traced."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fnx.utils.collector import uncollected

with uncollected():
    import timm
    import torch
from torch import Tensor, nn

from fnx.backbones import plugin
from fnx.backbones.architectures import architecture, known_layers
from fnx.backbones.backbone import Preprocessing, floating_dtype
from fnx.backbones.layers import Layer
from fnx.backbones.pooling import token_grid
from fnx.backbones.trace import Trace, tensor_of, trace
from fnx.config.schema import ModelConfig
from fnx.errors import ConfigError, FnxError

_T = TypeVar("_T")

# A prime that divides no size of a known network (windows are 6 to 24 wide): see `trace`.
_TRACED_IMAGES = 17


def check_name(timm_name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        ConfigError: naming the closest architectures or the tags that exist.
    """
    name, _, tag = timm_name.partition(".")
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f" (did you mean {', '.join(close)}?)" if close else ""
        raise ConfigError(f"timm has no model '{name}'{hint}; timm.list_models() lists them")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        raise ConfigError(f"timm has no weights '{tag}' for {name}; allowed: {', '.join(tags)}")


def create(timm_name: str, image_size: int) -> nn.Module:
    """Create an untrained network of timm's, in evaluation mode, for squares of `image_size` px.

    A plugin's network has the weights that its function gave it.

    Raises:
        ConfigError: unknown name, or a network that takes no images of this size.
        PluginError: see `fnx.backbones.plugin.create_plugin`.
    """
    if plugin.definition(timm_name) is not None:
        return plugin.create_plugin(timm_name)
    check_name(timm_name)
    info = timm.models.get_pretrained_cfg(timm_name)
    native = info.input_size[-1] if info is not None and info.fixed_input_size else image_size
    options: dict[str, Any] = {} if native == image_size else {"img_size": image_size}
    try:
        return timm.create_model(timm_name, pretrained=False, **options).eval()
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        if not options:
            raise
        raise ConfigError(
            f"crops.size={image_size}: {timm_name} takes only images of {native} px"
        ) from error


def traced(timm_name: str, image_size: int) -> Trace:
    """Layers of a network and where they are read, with fnx's own names where it has them.

    Nothing is computed: the network lives on torch's meta device, where its code allows that.

    Raises:
        ConfigError: unknown name, or a network that takes no images of this size.
    """

    def look(net: nn.Module) -> Trace:
        device = _device(net)
        count = _TRACED_IMAGES if device.type == "meta" else 2
        images = torch.zeros(
            count, 3, image_size, image_size, device=device, dtype=floating_dtype(net)
        )
        if (own := plugin.definition(timm_name)) is not None:
            return trace(
                net,
                images,
                classifiers=plugin.classifiers(own, net),
                others=plugin.own_modules(own, net),
                prefix_tokens=own.prefix_tokens,
            )
        named = (getattr(net, "pretrained_cfg", None) or {}).get("classifier") or ()
        classifiers = (named,) if isinstance(named, str) else tuple(named)
        return trace(net, images, classifiers=classifiers)

    try:
        result = looked_at(timm_name, image_size, look)
    except FnxError:
        raise
    except _failures(timm_name) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{timm_name} takes no images of {image_size} px: {why}") from error
    if (known := known_layers(timm_name)) is not None:
        units = {layer.module: layer.units for layer in result.layers}
        for layer in known:
            if units.get(layer.module) != layer.units:
                raise ConfigError(
                    f"this timm's {architecture(timm_name)} has no {layer.name} as known"
                )
        result.layers = known
    return result


def looked_at(timm_name: str, image_size: int, look: Callable[[nn.Module], _T]) -> _T:
    """Call `look` on a network without its weights, on the meta device where possible."""
    try:
        with torch.device("meta"):
            net = create(timm_name, image_size)
        return look(net)
    except FnxError:
        raise
    except Exception:  # a network that needs values while it is built or looked at
        return look(untrained(timm_name, image_size, seed=0))


def map_sizes(
    timm_name: str, image_size: int, view: tuple[int, int]
) -> Mapping[str, tuple[int, int]]:
    """Return rows and columns of each layer's map, by name, for views of any height and width.

    Layers without a map are left out: those with one value per unit, and windows of attention.

    >>> map_sizes("vgg16", 64, (64, 97))["conv5_1"]
    (4, 6)
    """
    return _map_sizes(timm_name, image_size, view, plugin.definition(timm_name))


@functools.cache
def _map_sizes(
    timm_name: str, image_size: int, view: tuple[int, int], definition: object
) -> Mapping[str, tuple[int, int]]:
    trace = traced(timm_name, image_size)
    sizes: dict[str, tuple[int, int]] = {}

    def keep(layer: Layer, output: Any) -> None:
        value = tensor_of(output)
        if value is None:
            return
        shape = tuple(value.shape[1:-1] if layer.module in trace.linear else value.shape[2:])
        if len(shape) == 1:
            shape = token_grid(shape[0] - trace.readings[layer.module][0].prefix, view)
        if len(shape) == 2:
            sizes.setdefault(layer.name, shape)  # of the first call

    def look(net: nn.Module) -> None:
        for layer in trace.layers:
            net.get_submodule(layer.module).register_forward_hook(
                lambda _, inputs, output, layer=layer: keep(layer, output)
            )
        with torch.no_grad():
            net(torch.zeros(1, 3, *view, device=_device(net), dtype=floating_dtype(net)))

    looked_at(timm_name, image_size, look)
    return sizes


def takes_oblong(timm_name: str, image_size: int) -> bool:
    """Return whether the network takes images that are not square, `image_size` the short side."""

    def look(net: nn.Module) -> None:
        longer = image_size + image_size // 8
        net(torch.zeros(1, 3, image_size, longer, device=_device(net), dtype=floating_dtype(net)))

    try:
        looked_at(timm_name, image_size, look)
    except FnxError:
        raise
    except _failures(timm_name):
        return False
    return True


def _failures(network: str) -> tuple[type[Exception], ...]:
    """Return what a network raises on images that it does not take: a plugin's, anything."""
    known = AssertionError, RuntimeError, ValueError
    return known if plugin.definition(network) is None else (Exception,)


def _device(net: nn.Module) -> torch.device:
    return next(net.parameters()).device


def untrained(timm_name: str, image_size: int, seed: int) -> nn.Module:
    """Create a network of timm's as its authors initialise it, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create(timm_name, image_size)


def uninitialised(timm_name: str, image_size: int) -> nn.Module:
    """Create a network of timm's whose parameters and buffers are all still to be loaded.

    Random values for VGG16's 138 million weights take seconds and are then overwritten. A network
    that holds more tensors than its weights files do is initialised all the same.
    """

    def emptied(net: nn.Module) -> nn.Module:
        if _device(net).type != "meta":
            return net
        saved = net.state_dict().keys()
        unsaved = any(name not in saved for name, _ in net.named_buffers())
        if unsaved or any(isinstance(v, Tensor) for m in net.modules() for v in vars(m).values()):
            raise NotImplementedError("it holds tensors that its weights files do not")
        return net.to_empty(device="cpu")

    return looked_at(timm_name, image_size, emptied)


def preprocessing(config: ModelConfig) -> Preprocessing:
    """Return how pixels become the network's input; what `config` leaves open is timm's."""
    given = config.preprocess
    info = timm.models.get_pretrained_cfg(config.timm_name) or timm.models.PretrainedCfg()
    mean, std = plugin.normalisation(config.timm_name) or (info.mean, info.std)

    def values(own: list[float] | None, usual: tuple[float, ...]) -> tuple[float, ...]:
        if own is None:  # timm's are in RGB and for pixels of 0…1
            usual = usual[::-1] if given.channels == "BGR" else usual
            return tuple(given.scale * float(value) for value in usual)
        return tuple(float(value) for value in own)

    return Preprocessing(
        channels=given.channels,
        scale=float(given.scale),
        mean=values(given.mean, mean),
        std=values(given.std, std),
    )
