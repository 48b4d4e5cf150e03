"""Table 1: what a network is made of, from its input to its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from torch import nn

from fnx.backbones.architectures import stage_names
from fnx.backbones.networks import looked_at, traced
from fnx.backbones.receptive import Output, outputs
from fnx.backbones.trace import is_layer

SCHEMA = {
    "name": pl.String(),
    "kind": pl.String(),
    "filters": pl.Int64(),
    "parameters": pl.Int64(),
    "neurons": pl.Int64(),
    "features": pl.Int64(),
    "height": pl.Int64(),
    "width": pl.Int64(),
    "receptive_field": pl.Int64(),
    "stride": pl.Int64(),
}


def network_table(timm_name: str, image_size: int, features: Mapping[str, int]) -> pl.DataFrame:
    """One row a stage of the network, in the order of execution: the paper's Table 1.

    Stages are the input, every convolution and linear layer, and every pool that makes a map
    smaller. What else has parameters (norms, position tables, layers that no hook can read) makes a
    last row, "other".

    Args:
        timm_name: the network.
        image_size: side in pixels of its square images.
        features: number of columns of the embedding by the layer's name.

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
    prefixes = {path: readings[0].prefix for path, readings in trace.readings.items()}
    layers = {layer.module: layer for layer in trace.layers}
    names = {module: layer.name for module, layer in layers.items()} | stage_names(timm_name)
    image = (image_size, image_size)

    def rows(net: nn.Module) -> list[dict[str, Any]]:
        modules = dict(net.named_modules())
        found = outputs(net, image, lambda _, m: is_layer(m) or is_pool(m), prefixes=prefixes)
        listed, counted = [_input(image)], 0
        for path, output in found.items():
            module = modules[path]
            name = names.get(path, path)
            if is_layer(module):
                own = sum(p.numel() for p in module.parameters(recurse=False))
                counted += own
                kind = "fc" if isinstance(module, nn.Linear) else "conv"
                kind = layers[path].kind if path in layers else kind if output.seen else "other"
                filters = module.weight.shape[0] if kind != "other" else None
                listed.append(_row(name, kind, output, filters, own, features.get(name, 0)))
            elif output.smaller and not any(path.startswith(f"{p}.") for p in found if p != path):
                listed.append(_row(name, "pool", output, None, 0, 0))
        if rest := sum(p.numel() for p in net.parameters()) - counted:
            listed.append({"name": "other", "kind": "other", "parameters": rest})
        return listed

    table = pl.DataFrame(looked_at(timm_name, image_size, rows), schema=SCHEMA)
    return table.with_columns(pl.col("parameters", "neurons", "features").fill_null(0))


def is_pool(module: nn.Module) -> bool:
    """Whether a module is a pool and nothing more: nothing in it has parameters."""
    return "Pool" in type(module).__name__ and not any(True for _ in module.parameters())


def _input(image: tuple[int, int]) -> dict[str, Any]:
    sizes = {"neurons": 3 * image[0] * image[1], "height": image[0], "width": image[1]}
    return {"name": "input", "kind": "input", **sizes, "receptive_field": 1, "stride": 1}


def _row(
    name: str, kind: str, output: Output, filters: int | None, parameters: int, features: int
) -> dict[str, Any]:
    field = output.field
    row: dict[str, Any] = {"name": name, "kind": kind, "filters": filters}
    row |= {"parameters": parameters, "neurons": output.neurons, "features": features}
    if output.plane is not None:
        row["height"], row["width"] = output.plane
    if output.seen and not field.whole:
        row["receptive_field"] = max(field.size)
        row["stride"] = max(field.stride) if field.boxes is None else None
    return row
