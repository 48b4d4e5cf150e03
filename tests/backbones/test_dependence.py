"""Functions that only move elements leave a tensor that is expanded over a layer's units one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fnx.backbones.dependence import DependenceOnly, expand

SHAPE = (4, 5, 6, 8)
Move = Callable[[Tensor], Tensor]


def expanded() -> Tensor:
    """Return a tensor of `SHAPE` whose last dimension is expanded."""
    thin = torch.arange(120.0).reshape(4, 5, 6, 1).requires_grad_()
    return expand(thin, *SHAPE)


def moved(move: Move) -> tuple[Tensor, Tensor]:
    """Return what a function gives as it is, and what it gives in the measurement."""
    plain = move(expanded())
    with DependenceOnly():
        return plain, move(expanded())


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.reshape(4, 30, 8),
        lambda x: x.reshape(4, 5, 6, 2, -1),
        lambda x: x.view((20, 6, 1, 8)),
        lambda x: x.flatten(1, 2),
        lambda x: x.unflatten(3, (2, 4)),
        lambda x: x.reshape(4, 5, 6, 2, 4).permute(3, 0, 1, 2, 4).reshape(2, 120, 4),
        lambda x: x.permute(0, 3, 1, 2).flatten(2).transpose(1, 2),
        lambda x: torch.movedim(x, -1, 1),
        lambda x: x.contiguous(),
        lambda x: x.unbind(3)[2],
        lambda x: x.unbind()[1],
        lambda x: x.unbind(dim=1)[-1],
        lambda x: x.chunk(2, -1)[1],
        lambda x: x.chunk(3, dim=2)[1],
        lambda x: x.split(3, dim=3)[2],
        lambda x: torch.split(x, [1, 4], 1)[1],
        lambda x: x[..., 3],
        lambda x: x[:, 1:, ::2, 2:5],
        lambda x: x[2],
        lambda x: x[1:, ..., -1],
        lambda x: x.roll((1, -2), (1, 2)),
        lambda x: torch.roll(x, 3, dims=3),
        lambda x: functional.pad(x, (0, 0, 1, 2)),
        lambda x: functional.pad(x, (0, 0, 0, 0, 3, 0), value=2.0),
    ],
)
def test_elements_move_as_they_do_anyway_and_stay_few(move: Move) -> None:
    plain, found = moved(move)
    assert torch.equal(found, plain)
    few: Tensor = found.unexpanded  # type: ignore[attr-defined]
    assert few.numel() <= 240
    assert torch.equal(few.expand(found.shape), found)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.reshape(4, 5, 48),
        lambda x: x.flatten(),
        lambda x: x.permute(0, 3, 1, 2).reshape(4, 40, 6),
        lambda x: x.roll(3),
        lambda x: functional.pad(x, (1, 0)),
        lambda x: x[:, [0, 2]],
        lambda x: x[x > 60],
        lambda x: x[None, 1],
        lambda x: x.detach().view(torch.int32).float(),
    ],
)
def test_others_are_left_as_they_are(move: Move) -> None:
    plain, found = moved(move)
    assert torch.equal(found, plain)
