"""Microbatches of a fixed size: no row depends on what shares its batch."""

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
from fnx.embedding import microbatches
from fnx.embedding.microbatches import Batching, Microbatches, batching
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
def test_rows_are_the_means_of_their_views_and_positions_those_of_the_centre(
    backbone: Backbone, name: str
) -> None:
    crops = Crops(name, 64, 64)
    given = images(*SHAPES)
    with Microbatches(backbone, crops, batching(backbone, crops, "auto", CPU, THREADS)) as run:
        rows, positions = run(given)
    assert rows.dtype == torch.float32
    assert_equal_to_one_by_one(backbone, crops, given, rows, positions)


def assert_equal_to_one_by_one(
    backbone: Backbone, crops: Crops, given: list[Tensor], rows: Tensor, positions: Tensor
) -> None:
    """The mean over the views; where each unit is highest in the centre, or the whole image."""
    expected = torch.stack([backbone(crops.views(image)).mean(0) for image in given])
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)
    whole = Crops("dense" if crops.name == "dense" else "center", crops.resize, crops.size)
    centres = [whole.views(image)[:1] for image in given]
    expected = torch.cat([backbone.with_positions(view, slice(1))[1] for view in centres])
    assert positions.dtype == torch.uint8
    assert positions.shape == (len(given), backbone.n_features, 2)
    # Equal up to units whose two highest values differ in their last bits.
    assert (positions == expected).float().mean() > 0.99


@pytest.mark.parametrize("name", ["ten", "five", "center", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_whatever_shares_its_batch(
    backbone: Backbone, name: str, dtype: torch.dtype
) -> None:
    crops = Crops(name, 64, 64)
    given = images(*SHAPES)
    network = copy.deepcopy(backbone).to(dtype)
    cut = batching(network, crops, "auto", CPU, THREADS)
    with Microbatches(network, crops, cut) as run, Microbatches(network, crops, cut) as other:
        together = run(given)
        alone = [other([image]) for image in given]
        backwards = run(given[::-1])
    for at in (0, 1):  # values and positions
        assert torch.equal(together[at], torch.cat([one[at] for one in alone]))
        assert torch.equal(together[at], backwards[at].flip(0))


def test_the_next_batch_begins_before_the_last_is_waited_for(backbone: Backbone) -> None:
    crops = Crops("center", 64, 64)
    given, began = images(*SHAPES), threading.Semaphore(0)
    network = copy.deepcopy(backbone)
    network.net.register_forward_pre_hook(lambda *_: began.release())
    with Microbatches(network, crops, Batching(views=4, threads=1, images=8)) as run:
        first, second = run.start(given), run.start(given[::-1])
        assert all(began.acquire(timeout=30) for _ in range(4))  # two microbatches of each
        (rows, places), (backwards, reverse) = first(), second()
    assert torch.equal(rows, backwards.flip(0))
    assert torch.equal(places, reverse.flip(0))


def test_an_accelerator_gets_whole_batches_and_no_threads(backbone: Backbone) -> None:
    crops = Crops("ten", 64, 64)
    cut = batching(backbone, crops, 64, torch.device("cuda"), THREADS)
    assert cut == Batching(views=60, threads=0, images=6)
    given = images(*SHAPES)
    with Microbatches(backbone, crops, cut) as run:  # the same way of the data, on the processor
        rows, positions = run(given)
    assert_equal_to_one_by_one(backbone, crops, given, rows, positions)


@pytest.mark.parametrize(
    ("name", "batch_size", "views", "images"),
    [
        ("ten", 64, 60, 6),
        ("ten", 70, 70, 7),
        ("ten", 3, 10, 1),  # never less than an image
        ("center", 64, 64, 64),
        ("ten", "auto", 60, 6),  # of 64, where memory cannot be asked for
    ],
)
def test_an_accelerator_s_microbatch_is_whole_images(
    backbone: Backbone, name: str, batch_size: int | str, views: int, images: int
) -> None:
    cut = batching(backbone, Crops(name, 64, 64), batch_size, torch.device("mps"), THREADS)
    assert cut == Batching(views=views, threads=0, images=images)


@pytest.mark.parametrize(("free", "images"), [(10**9, 25), (10_000_000, 6), (1, 1)])
def test_a_gpu_takes_256_views_or_what_three_fifths_of_its_free_memory_hold(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, free: int, images: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 0))
    monkeypatch.setattr(microbatches, "_cuda_bytes", lambda *_: 100_000.0)
    crops = Crops("ten", 64, 64)
    cut = batching(backbone, crops, "auto", torch.device("cuda"), THREADS)
    assert cut == Batching(views=10 * images, threads=0, images=images)


@pytest.mark.parametrize(
    ("name", "views", "images"),
    # Of as many threads as there are, four microbatches each.
    [("ten", 5, 4), ("five", 5, 8), ("dense", 2, 8), ("center", 4, 32)],
)
def test_a_processor_s_batch_is_four_microbatches_per_thread(
    backbone: Backbone, name: str, views: int, images: int
) -> None:
    cut = batching(backbone, Crops(name, 64, 64), "auto", CPU, THREADS)
    assert cut == Batching(views=views, threads=THREADS, images=images)


@pytest.mark.parametrize(
    ("name", "size", "images_in_batch"),
    [
        ("ten", 1, 1),
        ("ten", 35, 3),
        ("five", 9, 1),
        ("five", 10, 2),
        ("center", 1, 4),
        ("center", 8, 8),
        ("center", 9, 12),
    ],
)
def test_a_batch_is_a_whole_number_of_microbatches(
    backbone: Backbone, name: str, size: int, images_in_batch: int
) -> None:
    assert batching(backbone, Crops(name, 64, 64), size, CPU, THREADS).images == images_in_batch


def test_little_memory_means_fewer_threads(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = Crops("ten", 64, 64)
    assert batching(backbone, crops, "auto", CPU, 64).threads == 64
    monkeypatch.setattr(microbatches, "available_memory", lambda: 40 * 2**20)
    few = batching(backbone, crops, "auto", CPU, 64)
    # Three fifths of it over 5 views × twice the widest layer's input and output, in float32.
    assert few.threads == int(0.6 * 40 * 2**20 / (5 * 2 * widest(backbone)))
    monkeypatch.setattr(microbatches, "available_memory", lambda: 0)
    assert batching(backbone, crops, "auto", CPU, 64).threads == 1
    assert few.views == 5  # which would change numbers, so it does not change


def widest(backbone: Backbone) -> int:
    """The most bytes that go into and come out of one module, for one view."""
    sizes = []
    handles = [
        module.register_forward_hook(lambda _, i, o: sizes.append(4 * (i[0].numel() + o.numel())))
        for module in backbone.net.modules()
    ]
    backbone(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    for handle in handles:
        handle.remove()
    return max(sizes)


def test_replicas_share_their_weights(backbone: Backbone) -> None:
    replica = backbone.replica()
    for own, shared in zip(backbone.parameters(), replica.parameters(), strict=True):
        assert own is shared
    assert replica.net is not backbone.net


def test_threads_of_torch_are_left_as_they_were_and_none_stays(backbone: Backbone) -> None:
    crops = Crops("five", 64, 64)
    before = torch.get_num_threads()
    with Microbatches(backbone, crops, Batching(views=5, threads=3, images=3)) as run:
        run(images(*SHAPES))
        assert torch.get_num_threads() == before
    assert not [t for t in threading.enumerate() if t.name.startswith("fnx-microbatch")]


def test_an_error_in_a_microbatch_is_raised(backbone: Backbone) -> None:
    class Broken(nn.Module):
        def with_positions(self, *_: object) -> None:
            raise ZeroDivisionError("in a microbatch")

    crops = Crops("five", 64, 64)
    with Microbatches(backbone, crops, Batching(views=5, threads=2, images=2)) as run:
        while not run._replicas.empty():
            run._replicas.get()
        for _ in range(2):
            run._replicas.put(Broken())  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError, match="in a microbatch"):
            run(images(*SHAPES))


def test_autocasting_reaches_the_threads(backbone: Backbone) -> None:
    crops = Crops("five", 64, 64)
    given = images(*SHAPES)
    with Microbatches(backbone, crops, Batching(views=5, threads=2, images=2)) as run:
        plain, _ = run(given)
        with torch.autocast("cpu", torch.bfloat16):
            cast, _ = run(given)
            expected = torch.stack([backbone(crops.views(image)).mean(0) for image in given])
    assert not torch.equal(plain, cast)
    torch.testing.assert_close(cast, expected, rtol=2e-2, atol=2e-2)
