"""Table 1: what a network is made of, from its input to its output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from fnx.backbones.architectures import stage_names
from fnx.backbones.networks import looked_at, traced
from fnx.backbones.receptive import stage_fields
from fnx.backbones.trace import is_layer, is_stage, tensor_of

_NUMBERS = ("filters", "parameters", "neurons", "features", "height", "width")
SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("name", "kind"), pl.String()),
    **dict.fromkeys((*_NUMBERS, "receptive_field", "stride"), pl.Int64()),
}


def network_table(timm_name: str, image_size: int, features: Mapping[str, int]) -> pl.DataFrame:
    """Return one row per stage of the network, in the order of execution: the paper's Table 1.

    Stages are the input, every convolution and linear layer, and every pool that makes a map
    smaller. What else has parameters (norms, position tables, layers that no hook can read) makes a
    last row, "other".

    `features` is the number of columns of the embedding by the layer's name.

    Returns:
        ``name``; ``kind`` ("input", "conv", "pool", "fc" or "other"); ``filters``; ``parameters``,
        of the stage itself, biases included; ``neurons``, values for one image; ``features``;
        ``height`` and ``width`` of its map, null where there is none; ``receptive_field``, side in
        pixels, null where it is the whole image, and ``stride`` (see `fnx.backbones.receptive`; the
        larger side where they differ).

    Raises:
        ConfigError: unknown name, or a network that takes no images of this size.
    """
    trace = traced(timm_name, image_size)
    layers = {layer.module: layer for layer in trace.layers}
    names = {module: layer.name for module, layer in layers.items()} | stage_names(timm_name)
    fields = stage_fields(timm_name, image_size)
    outputs, parameters = looked_at(
        timm_name, image_size, lambda net: _outputs(net, image_size, layers)
    )
    sizes = {"neurons": 3 * image_size**2, "height": image_size, "width": image_size}
    listed: list[dict[str, Any]] = [
        {"name": "input", "kind": "input", **sizes, "receptive_field": 1, "stride": 1}
    ]
    for path, output in outputs.items():
        module, name = output.module, names.get(path, path)
        row: dict[str, Any] = {"name": name, "kind": "pool", "neurons": output.neurons}
        if is_layer(module) or path in layers:
            kind = "fc" if isinstance(module, nn.Linear) else "conv"
            kind = layers[path].kind if path in layers else kind if output.seen else "other"
            own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            parameters -= own
            row |= {"kind": kind, "parameters": own, "features": features.get(name, 0)}
            if path in layers:
                row["filters"] = layers[path].units
            elif kind != "other":
                row["filters"] = len(module.get_parameter("weight"))
        elif not output.smaller or any(path.startswith(f"{other}.") for other in outputs):
            continue
        if output.plane is not None:
            row["height"], row["width"] = output.plane
        if (field := fields.get(path)) is not None:
            row |= {"receptive_field": max(field.size), "stride": max(field.stride)}
        listed.append(row)
    if parameters:
        listed.append({"name": "other", "kind": "other", "parameters": parameters})
    table = pl.DataFrame(listed, schema=SCHEMA)
    return table.with_columns(pl.col("parameters", "neurons", "features").fill_null(0))


@dataclass
class _Output:
    """What a module returns for one image.

    Attributes:
        module: the module.
        plane: rows and columns of its map; None for tokens and windows.
        smaller: whether it has fewer positions than the module's input.
        seen: whether it depends on the image.
        neurons: number of values, of all calls.
    """

    module: nn.Module
    plane: tuple[int, int] | None
    smaller: bool
    seen: bool
    neurons: int = 0


def _outputs(
    net: nn.Module, side: int, layers: Collection[str] = ()
) -> tuple[dict[str, _Output], int]:
    """Run layers and pools on one image; and count the parameters of the network."""
    example = next(net.parameters(), torch.empty(0))
    image = torch.zeros(1, 3, side, side, dtype=example.dtype, device=example.device)
    found: dict[str, _Output] = {}

    def keep(path: str, module: nn.Module, inputs: Sequence[Any], returned: Any) -> None:
        output = tensor_of(returned)
        if output is None or output.ndim < 2:
            return
        if path not in found:
            entered = inputs[0] if inputs and isinstance(inputs[0], Tensor) else output
            smaller = output.shape[2:].numel() < entered.shape[2:].numel()
            alone = output.ndim == 4 and len(output) == 1
            plane = (output.shape[2], output.shape[3]) if alone else None
            if isinstance(module, nn.Linear) and alone:
                plane = (output.shape[1], output.shape[2])
            found[path] = _Output(module, plane, smaller, output.requires_grad)
        found[path].neurons += output.numel()

    for path, module in net.named_modules():
        if is_stage(module) or path in layers:
            module.register_forward_hook(lambda m, a, out, p=path: keep(p, m, a, out))
    with torch.enable_grad():  # through which an output tells that it depends on the image
        net.requires_grad_(False)(image.requires_grad_())
    return found, sum(parameter.numel() for parameter in net.parameters())
