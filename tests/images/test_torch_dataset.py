"""Readable images as a torch data set of any shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images, torch_dataset
from fnx.images.crops import Crops
from fnx.images.torch_dataset import (
    Batch,
    ImageDataset,
    VanishedImageError,
    collate,
    handed_over,
)

CROPS = Crops("ten", 16, 12)


@pytest.fixture
def images(root: Path, write: Callable[..., Path]) -> LabelledImages:
    (root / "cat/0.png").touch()
    write(root / "dog/tall.png", size=(10, 33))
    return opened(root)


def opened(root: Path) -> LabelledImages:
    config = DatasetConfig(name="own", layout="folder", root=str(root))
    return open_images(config, root.parent / "cache")


def test_rows_are_the_readable_images_in_order(images: LabelledImages, root: Path) -> None:
    dataset = ImageDataset(images, CROPS)
    assert len(dataset) == 7
    row, pixels = dataset[0]
    assert row == 0
    assert pixels.dtype == torch.uint8
    with Image.open(root / "cat/1.png") as image:
        assert torch.equal(pixels, CROPS.resized(image))


def test_rows_have_the_names_of_the_table_whatever_characters(
    root: Path, write: Callable[..., Path]
) -> None:
    write(root / "cat/ä 🦜.png", size=(20, 20))
    images = opened(root)
    assert list(ImageDataset(images, CROPS).paths) == images.ok()["path"].to_list()


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_ragged(images: LabelledImages, workers: int) -> None:
    loader = DataLoader(
        ImageDataset(images, CROPS), batch_size=4, collate_fn=collate, num_workers=workers
    )
    batches = list(loader)
    assert [batch.rows for batch in batches] == [[0, 1, 2, 3], [4, 5, 6]]
    assert sizes_of(batches) == [(16, 21)] * 6 + [(52, 16)]
    for row, image in enumerate(image for batch in batches for image in batch.images()):
        assert torch.equal(image, ImageDataset(images, CROPS)[row][1])


def sizes_of(batches: Iterable[Batch]) -> list[tuple[int, int]]:
    return [size for batch in batches for size in batch.sizes]


@pytest.mark.parametrize(
    ("free", "kind"),
    # The first batch has 4 images of 3 × 16 × 21 bytes, and as much again is left to others.
    [(8063, np.ndarray), (8064, torch.Tensor), (None, torch.Tensor)],
)
def test_batches_are_piped_where_shared_memory_is_small(
    images: LabelledImages, free: int | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that decodes is a fork, which inherits what is injected here."""

    def usage(path: Path) -> object:
        assert path == Path("/dev/shm")
        if free is None:
            raise FileNotFoundError(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(torch_dataset, "disk_usage", usage)
    dataset = ImageDataset(images, CROPS)
    loader = DataLoader(
        dataset,
        batch_size=4,
        collate_fn=collate,
        num_workers=1,
        multiprocessing_context="fork",
    )
    first, _ = loader
    assert type(first.pixels) is kind
    assert type(first.with_tensor().pixels) is torch.Tensor
    for row, image in enumerate(first.with_tensor().images()):
        assert torch.equal(image, dataset[row][1])
    for given, again in zip(first.images(), first.with_tensor().images(), strict=True):
        assert torch.equal(given, again)


def test_batches_are_piped_where_memory_cannot_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    pixels = torch.arange(5, dtype=torch.uint8)
    assert isinstance(handed_over(pixels.clone()), torch.Tensor)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    found = handed_over(pixels)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_fails_after_the_check_is_named_in_one_line(
    images: LabelledImages, root: Path, workers: int
) -> None:
    (root / "cat/2.jpg").write_bytes(b"")
    loader = DataLoader(ImageDataset(images, CROPS), collate_fn=collate, num_workers=workers)
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value) == (
        "image 'cat/2.jpg' could be read when it was checked and now cannot: "
        "it was replaced in the meantime; the same command takes it as it is now"
    )


def test_an_error_of_a_worker_keeps_only_its_message() -> None:
    again = VanishedImageError(
        "Traceback (most recent call last):\n  …\n"
        "fnx.images.torch_dataset.VanishedImageError: image 'VanishedImageError: x' is gone\n"
    )
    assert str(again) == "image 'VanishedImageError: x' is gone"
    assert str(VanishedImageError("image 'a' is gone")) == "image 'a' is gone"
