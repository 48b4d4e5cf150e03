"""Networks of plugins: made by their function once per process, copied for each use."""

from __future__ import annotations

import copy
import fnmatch
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fnx.backbones.trace import is_activation, is_layer, is_norm
from fnx.errors import FnxError, PluginError
from fnx.registry.backbones import BackboneEntry, parse_call_name

#: Mean and standard deviation of each channel, RGB, of pixels of 0…1.
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


def definition(network: str) -> BackboneEntry | None:
    """Return what registered a plugin's network, by its name (`BackboneEntry.call_name`).

    It is another one once the network is defined anew, and None for a network of timm's.
    """
    found = parse_call_name(network)
    return None if found is None else found[0]


def create_plugin(network: str) -> nn.Module:
    """Return a network of a plugin with its weights, in evaluation mode, for one use.

    Where torch's default device is the meta device, it is there, without its weights.

    Raises:
        PluginError: the function failed, or returned no network.
    """
    net, _ = _made(network)
    memo: dict[int, Any] = {}
    if torch.get_default_device().type == "meta":
        for tensor in (*net.parameters(), *net.buffers()):
            empty = tensor.detach().to("meta")
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(net, memo)


def normalisation(network: str) -> Normalisation | None:
    """Return the mean and standard deviation that a plugin's function returned, if it did."""
    return None if definition(network) is None else _made(network)[1]


def weights_digest(network: str) -> str:
    """Return a digest of all that a plugin's network computes with, as far as it can be seen.

    That is its parameters and buffers, its structure as torch prints it, and its preprocessing.
    """
    net, normal = _made(network)
    sha = hashlib.sha256(json.dumps([repr(net), normal]).encode())
    tensors: Mapping[str, Tensor] = dict([*net.named_parameters(), *net.named_buffers()])
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def own_modules(entry: BackboneEntry, net: nn.Module) -> set[str]:
    """Return the paths of modules that are read beside convolutions and linear layers.

    They are those that the plugin names, and those that hold a matrix of weights of their own.

    Raises:
        PluginError: a path or glob that matches no module.
    """
    # Activations and norms belong to the layer before them.
    modules = {
        path: module
        for path, module in net.named_modules()
        if path and not (is_norm(module) or is_activation(module))
    }
    chosen: set[str] = set()
    for pattern in entry.modules:
        found = set(fnmatch.filter(modules, pattern))
        if not found:
            raise PluginError(f"{_told(entry)}: it has no module '{pattern}' that can be a layer")
        chosen |= found
    for path, module in modules.items():
        if is_layer(module) or isinstance(module, nn.Embedding | nn.MultiheadAttention):
            continue
        weights = any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
        if weights and not any(True for _ in module.children()):
            chosen.add(path)
    return chosen


def classifiers(entry: BackboneEntry, net: nn.Module) -> tuple[str, ...]:
    """Return the module paths of the final classifier.

    Raises:
        PluginError: no module has any of the paths that the plugin names.
    """
    paths = [path for path, _ in net.named_modules()]
    found = [path for pattern in entry.classifier for path in fnmatch.filter(paths, pattern)]
    if entry.classifier and not found:
        raise PluginError(f"{_told(entry)}: it has no classifier {' or '.join(entry.classifier)}")
    return tuple(found)


def _made(network: str) -> tuple[nn.Module, Normalisation | None]:
    found = parse_call_name(network)
    assert found is not None, network
    entry, parameters = found
    return _make(network, entry, json.dumps(parameters, sort_keys=True))


@functools.lru_cache(maxsize=1)
def _make(
    network: str, entry: BackboneEntry, parameters: str
) -> tuple[nn.Module, Normalisation | None]:
    told = _told(entry)
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            returned = entry.function(**json.loads(parameters))
    except FnxError:
        raise
    except Exception as error:  # anybody's code
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{told} failed: {why[:300]}") from error
    net, preprocessing = returned if isinstance(returned, tuple) else (returned, None)
    if not isinstance(net, nn.Module):
        raise PluginError(
            f"{told} returned {type(net).__name__}: must be a torch.nn.Module, or one and its "
            "preprocessing"
        )
    if not any(True for _ in net.parameters()):
        raise PluginError(f"{told} returned a network without parameters")
    return net.eval(), None if preprocessing is None else _normalisation(told, preprocessing)


def _normalisation(told: str, preprocessing: Any) -> Normalisation:
    """Read mean and standard deviation off whatever describes a preprocessing."""

    def read(*names: str) -> tuple[float, ...]:
        for name in names:
            is_mapping = isinstance(preprocessing, Mapping)
            found = preprocessing.get(name) if is_mapping else getattr(preprocessing, name, None)
            if found is not None:
                values = tuple(float(value) for value in found)
                if len(values) == 3 and (name.endswith("mean") or 0 not in values):
                    return values
        raise PluginError(
            f"{told}: its preprocessing, a {type(preprocessing).__name__}, has no three numbers "
            f"{' or '.join(names)} (std not 0): give mean= and std= to @fnx.backbone"
        )

    return read("mean", "image_mean"), read("std", "image_std")


def _told(entry: BackboneEntry) -> str:
    return f"model={entry.name} ({entry.origin})"
