"""Real photographs, as their authors publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fnx.config.schema import DatasetConfig
from fnx.errors import DataError
from fnx.images import LabelledImages, open_images
from fnx.images.crops import Crops
from fnx.images.torch_dataset import ImageDataset


@pytest.fixture(scope="module")
def pets(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """Oxford-IIIT Pet's files, linked into a folder a breed; some are not JPEG, all say .jpg."""
    root = tmp_path_factory.mktemp("pets")
    for file in (shared_data / "pets3/images").iterdir():
        breed, _ = file.stem.rsplit("_", 1)
        (root / breed).mkdir(exist_ok=True)
        (root / breed / file.name).symlink_to(file)
    config = DatasetConfig(name="pets3", layout="folder", root=str(root), on_error="raise")
    return open_images(config, root / ".cache")


def test_all_can_be_read_in_natural_order(pets: LabelledImages) -> None:
    assert len(pets.class_names) == 3
    assert np.bincount(pets.labels()).tolist() == [60, 60, 60]
    numbers = [int(Path(path).stem.rsplit("_", 1)[1]) for path in pets.ok()["path"]]
    assert numbers[:60] == sorted(numbers[:60])


@pytest.mark.parametrize(("name", "kind"), [("Abyssinian_34", "GIF"), ("Abyssinian_5", "PNG")])
def test_a_gif_and_an_rgba_png_under_jpg_names(
    pets: LabelledImages, shared_data: Path, name: str, kind: str
) -> None:
    path = f"Abyssinian/{name}.jpg"
    with Image.open(shared_data / "pets3/images" / f"{name}.jpg") as image:
        assert image.format == kind
    expected = np.asarray(pets.open(path)).mean(axis=(0, 1))
    row = pets.ok()["path"].to_list().index(path)
    _, pixels = ImageDataset(pets, Crops("ten"))[row]
    assert min(pixels.shape[1:]) == 256
    np.testing.assert_allclose(pixels.float().mean((1, 2)), expected, atol=1)


def test_a_truncated_photograph_is_found(shared_data: Path, tmp_path: Path) -> None:
    """Draft decoding in the check reads the stream to its end."""
    files = sorted((shared_data / "pets3/images").glob("Bengal_*.jpg")) or sorted(
        (shared_data / "pets3/images").glob("*_1.jpg")
    )
    photos = [file for file in files if Image.open(file).format == "JPEG"][:4]
    for place, file in enumerate(photos):
        (tmp_path / f"r/{place % 2}").mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        (tmp_path / f"r/{place % 2}/{file.name}").write_bytes(content)
        (tmp_path / f"r/{place % 2}/cut_{file.name}").write_bytes(content[:-200])
    config = DatasetConfig(name="cut", layout="folder", root=str(tmp_path / "r"))
    table = open_images(config, tmp_path).table
    failed = table.filter(status="failed")["path"].to_list()
    assert sorted(failed) == sorted(path for path in table["path"] if "cut_" in path)
    assert failed
    with pytest.raises(DataError, match="cannot read"):
        open_images(
            DatasetConfig(name="cut", layout="folder", root=str(tmp_path / "r"), on_error="raise"),
            tmp_path,
        )
