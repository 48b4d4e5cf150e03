"""What is read of a layer's map: the mean of each unit, and where the unit answers most."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn


def pooled(value: Tensor, *, channels_last: bool, images: int, prefix: int = 0) -> Tensor:
    """Average a layer's activations over everything but images and units.

    Args:
        value: activations of a batch, (B', C, …) or, with `channels_last`, (B', …, C). B' is
            `images`, or a multiple of it where a network folds windows into the batch.
        channels_last: whether units are the last axis (linear layers) or the second (convolutions).
        images: number of images in the batch.
        prefix: class and register tokens at the front of a token map, which are left out.

    Returns:
        Float32 (images, C). Sums are accumulated in float32 whatever the dtype of `value`.

    >>> pooled(torch.ones(2, 5, 4, 4), channels_last=False, images=2).shape
    torch.Size([2, 5])
    """
    if channels_last:
        value = value.movedim(-1, 1)
    rows = value.float() if value.ndim == 2 else _mean(value.flatten(2)[:, :, prefix:])
    if len(rows) != images:
        rows = rows.reshape(images, -1, rows.shape[1]).mean(1)
    return rows


def _mean(value: Tensor) -> Tensor:
    """Mean over the last axis of (B, C, P), float32 (B, C)."""
    positions = value.shape[2]
    if positions == 1:
        return value[:, :, 0].float()
    if value.device.type != "cpu" or value.dtype != torch.bfloat16:
        return value.mean(2, dtype=torch.float32)
    # On the CPU torch's own mean of bfloat16 is 5 to 10 times slower than a matrix product with
    # ones, which accumulates in float32 but rounds its result to bfloat16. A second product gives
    # what the rounding lost, so that the sum of the two is right to about 1e-5 of its value.
    ones = value.new_ones(1, 1, 1).expand(len(value), positions, 1)
    total = torch.bmm(value, ones)
    lost = torch.baddbmm(total, value, ones, beta=-1)
    return (total.float() + lost.float())[:, :, 0] / positions


def peak_positions(
    value: Tensor, *, channels_last: bool, view: tuple[int, int], prefix: int = 0
) -> Tensor:
    """Find where in its map each unit is highest, in 256ths of the map (see `encode_position`).

    Args:
        value: activations of N views, (N, C, …) or, with `channels_last`, (N, …, C).
        channels_last: as for `pooled`.
        view: height and width of the views, which tell how tokens lie (see `token_grid`).
        prefix: as for `pooled`.

    Returns:
        uint8 (N, C, 2), row and column. Of equal values the first counts, row by row. All are 0
        where there is no map: a value per unit, or more axes than two.

    >>> peak_positions(torch.eye(2)[None, None], channels_last=False, view=(8, 8)).tolist()
    [[[64, 64]]]
    """
    if channels_last:
        value = value.movedim(-1, 1)
    if value.ndim == 3:
        value = value[:, :, prefix:]
        value = value.reshape(*value.shape[:2], *token_grid(value.shape[2], view))
    if value.ndim != 4:
        return torch.zeros(*value.shape[:2], 2, dtype=torch.uint8, device=value.device)
    rows, columns = value.shape[2:]
    place = _argmax(value)
    if value.device.type == "cpu" and not torch.compiler.is_compiling():
        # Divisions of integers take as long as the search for the maximum.
        return _codes(rows, columns)[place]
    codes = [encode_position(place // columns, rows), encode_position(place % columns, columns)]
    return torch.stack(codes, 2).to(torch.uint8)


@cache
def _codes(rows: int, columns: int) -> Tensor:
    """Return the encoded row and column of every place in a map: uint8 (rows · columns, 2)."""
    codes = [encode_position(torch.arange(count), count) for count in (rows, columns)]
    return torch.cartesian_prod(*codes).to(torch.uint8)


def _argmax(value: Tensor) -> Tensor:
    """Return the place of the maximum of (N, C, H, W) over the map, row by row: int64 (N, C)."""
    if value.device.type != "cpu":
        return value.flatten(2).max(2).indices
    # On the CPU the pooling of a whole map takes whole vectors of units where they are innermost:
    # less than the mean, and a tenth of the time of max() with indices (measured on VGG16).
    _, place = nn.functional.max_pool2d(value, value.shape[2:], return_indices=True)
    return place[:, :, 0, 0]


def token_grid(tokens: int, view: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of tokens that cover a view line by line; one row if they cannot.

    >>> token_grid(98, (224, 448)), token_grid(99, (224, 448))
    ((7, 14), (1, 99))
    """
    rows = max(1, round(math.sqrt(tokens * view[0] / view[1])))
    return (rows, tokens // rows) if tokens % rows == 0 else (1, tokens)


def encode_position(position: Tensor, count: int) -> Tensor:
    """Write the middle of cell `position` of `count` in 256ths: floor((2 p + 1) · 128 / n).

    >>> encode_position(torch.arange(4), 4).tolist()
    [32, 96, 160, 224]
    """
    return (2 * position + 1) * 128 // count
