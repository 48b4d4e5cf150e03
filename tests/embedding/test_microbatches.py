"""Passes of a fixed size: no row depends on what shares its batch."""

from __future__ import annotations

import copy
import threading

import pytest
import timm
import torch
from torch import Tensor, nn

from fnx.backbones.backbone import Backbone, Preprocessing, plan
from fnx.backbones.layers import select
from fnx.backbones.trace import trace
from fnx.embedding import microbatches as passes
from fnx.embedding.microbatches import Batching, Passes, batching
from fnx.images.crops import Crops

CPU = torch.device("cpu")
THREADS = 2


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", pretrained=False).eval()
    found = trace(net, torch.zeros(2, 3, 64, 64))
    layers = select(found.layers, "all")
    return Backbone(
        net,
        layers=layers,
        taps=plan(found, layers, "post"),
        preprocessing=Preprocessing("RGB", 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        weights_digest="",
    )


def images(*shapes: tuple[int, int]) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in shapes]


SHAPES = [(64, 64), (64, 80), (64, 64), (70, 64), (64, 80), (64, 64), (64, 64)]


@pytest.mark.parametrize("name", ["ten", "five", "center", "dense"])
def test_rows_are_the_means_of_their_views_in_order(backbone: Backbone, name: str) -> None:
    crops = Crops(name, 64, 64)
    given = images(*SHAPES)
    with Passes(backbone, crops, batching(backbone, crops, "auto", CPU, THREADS)) as run:
        rows = run(given)
    assert rows.dtype == torch.float32
    expected = torch.stack([backbone(crops.views(image)).mean(0) for image in given])
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ten", "five", "center", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_whatever_shares_its_batch(
    backbone: Backbone, name: str, dtype: torch.dtype
) -> None:
    crops = Crops(name, 64, 64)
    given = images(*SHAPES)
    network = copy.deepcopy(backbone).to(dtype)
    cut = batching(network, crops, "auto", CPU, THREADS)
    with Passes(network, crops, cut) as run, Passes(network, crops, cut) as other:
        rows = run(given)
        alone = torch.cat([other([image]) for image in given])
        reversed_ = run(given[::-1]).flip(0)
    assert torch.equal(rows, alone)
    assert torch.equal(rows, reversed_)


def test_an_accelerator_gets_whole_batches_and_no_threads(backbone: Backbone) -> None:
    crops = Crops("ten", 64, 64)
    cut = batching(backbone, crops, 64, torch.device("cuda"), THREADS)
    assert cut == Batching(views=60, threads=0, images=6)
    given = images(*SHAPES)
    with Passes(backbone, crops, cut) as run:  # the same way of the data, on the processor
        rows = run(given)
    expected = torch.stack([backbone(crops.views(image)).mean(0) for image in given])
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "images_in_batch"),
    [("ten", 1, 1), ("ten", 35, 3), ("five", 9, 1), ("center", 1, 4), ("center", 9, 12)],
)
def test_a_batch_is_a_whole_number_of_passes(
    backbone: Backbone, name: str, size: int, images_in_batch: int
) -> None:
    assert batching(backbone, Crops(name, 64, 64), size, CPU, THREADS).images == images_in_batch


def test_little_memory_means_fewer_threads(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = Crops("ten", 64, 64)
    assert batching(backbone, crops, "auto", CPU, 64).threads == 64
    monkeypatch.setattr(passes, "available_memory", lambda: 40 * 2**20)
    few = batching(backbone, crops, "auto", CPU, 64)
    assert 1 <= few.threads < 64
    monkeypatch.setattr(passes, "available_memory", lambda: 0)
    assert batching(backbone, crops, "auto", CPU, 64).threads == 1
    assert few.views == 5  # which would change numbers, so it does not change


def test_replicas_share_their_weights(backbone: Backbone) -> None:
    replica = backbone.replica()
    for own, shared in zip(backbone.parameters(), replica.parameters(), strict=True):
        assert own is shared
    assert replica.net is not backbone.net


def test_threads_of_torch_are_left_as_they_were_and_none_stays(backbone: Backbone) -> None:
    crops = Crops("five", 64, 64)
    before = torch.get_num_threads()
    with Passes(backbone, crops, Batching(views=5, threads=3, images=3)) as run:
        run(images(*SHAPES))
        assert torch.get_num_threads() == before
    assert not [t for t in threading.enumerate() if t.name.startswith("fnx-pass")]


def test_an_error_in_a_pass_is_raised(backbone: Backbone) -> None:
    class Broken(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise ZeroDivisionError("in a pass")

    crops = Crops("five", 64, 64)
    with Passes(backbone, crops, Batching(views=5, threads=2, images=2)) as run:
        while not run._replicas.empty():
            run._replicas.get()
        for _ in range(2):
            run._replicas.put(Broken())  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError, match="in a pass"):
            run(images(*SHAPES))


def test_autocasting_reaches_the_threads(backbone: Backbone) -> None:
    crops = Crops("five", 64, 64)
    given = images(*SHAPES)
    with Passes(backbone, crops, Batching(views=5, threads=2, images=2)) as run:
        plain = run(given)
        with torch.autocast("cpu", torch.bfloat16):
            cast = run(given)
            expected = torch.stack([backbone(crops.views(image)).mean(0) for image in given])
    assert not torch.equal(plain, cast)
    torch.testing.assert_close(cast, expected, rtol=2e-2, atol=2e-2)
