"""The layouts of the eleven data sets of Table 2: fetched from a server, unpacked, read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.images.archives import cells, mat, picture
from tests.images.publishing import Server, dataset, opened, publish

from fnx.config.schema import Config, DatasetConfig
from fnx.embedding.embed import embed
from fnx.errors import ConfigError, DataError, MissingDataError
from fnx.images import list_images, open_images
from fnx.images.layouts import imagenet
from fnx.images.official import OFFICIAL

# What is read from each: path, class and official split of the images, in this order.
EXPECTED = {
    "imagenet": """
        val/ILSVRC2012_val_00000001.JPEG | tench            | val
        val/ILSVRC2012_val_00000004.JPEG | tench            | val
        val/ILSVRC2012_val_00000003.JPEG | crane (n02012849) | val
        val/ILSVRC2012_val_00000002.JPEG | crane (n03126707) | val
    """,
    "cub200": """
        CHAT_0002_1027.jpg    | Yellow breasted Chat | test
        CHAT_0003_1033.jpg    | Yellow breasted Chat | train
        TOWHEE_0001_796111.jpg | Eastern Towhee       | train
        TOWHEE_0009_34.jpg     | Eastern Towhee       | test
    """.replace("CHAT", "images/020.Yellow_breasted_Chat/Yellow_Breasted_Chat").replace(
        "TOWHEE", "images/021.Eastern_Towhee/Eastern_Towhee"
    ),
    "wood": """
        st1005.ppm | dry knot   |
        st1010.ppm | dry knot   |
        st1009.ppm | sound knot |
        st1012.ppm | sound knot |
    """,
    "flowers102": """
        jpg/image_00002.jpg | pink primrose  | train
        jpg/image_00004.jpg | pink primrose  | test
        jpg/image_00001.jpg | passion flower | train
        jpg/image_00003.jpg | passion flower | val
    """,
    "caltech101": """
        101_ObjectCategories/accordion/image_0001.jpg  | accordion  |
        101_ObjectCategories/accordion/image_0010.jpg  | accordion  |
        101_ObjectCategories/Faces_easy/image_0001.jpg | Faces easy |
        101_ObjectCategories/Faces_easy/image_0002.jpg | Faces easy |
    """,
    "mit67": """
        Images/airport_inside/a_1.jpg | airport inside | train
        Images/airport_inside/b_2.jpg | airport inside | test
        Images/bar/c_3.jpg            | bar            | train
        Images/bar/d_4.jpg            | bar            | test
    """,
    "textures": """
        images/banded/banded_0002.jpg             | banded       | train
        images/banded/banded_0004.jpg             | banded       | val
        images/polka-dotted/polka-dotted_0001.jpg | polka-dotted | val
        images/polka-dotted/polka-dotted_0003.jpg | polka-dotted | test
    """,
    "caltech256": """
        256_ObjectCategories/250.zebra/250_0001.jpg         | zebra         |
        256_ObjectCategories/250.zebra/250_0002.jpg         | zebra         |
        256_ObjectCategories/251.airplanes-101/251_0001.jpg | airplanes-101 |
        256_ObjectCategories/251.airplanes-101/251_0002.jpg | airplanes-101 |
    """,
    "stanforddogs": """
        Images/n02086646-Blenheim_spaniel/n1_2.jpg   | Blenheim spaniel | train
        Images/n02086646-Blenheim_spaniel/n1_10.jpg  | Blenheim spaniel | test
        Images/n02085620-Chihuahua/n02085620_2.jpg     | Chihuahua        | test
        Images/n02085620-Chihuahua/n02085620_10074.jpg | Chihuahua        | train
    """,
    "catsdogs": """
        images/Abyssinian_1.jpg       | Abyssinian       | trainval
        images/Abyssinian_20.jpg      | Abyssinian       | test
        images/american_bulldog_1.jpg | american bulldog | trainval
        images/american_bulldog_3.jpg | american bulldog | test
    """,
    "food101": """
        images/apple_pie/101251.jpg  | Apple pie    | test
        images/apple_pie/1011328.jpg | Apple pie    | test
        images/creme_brulee/1.jpg    | Creme brulee | test
        images/creme_brulee/23.jpg   | Creme brulee | test
    """,
}


def expected(name: str) -> list[tuple[str, str, str | None]]:
    lines = (line.split("|") for line in EXPECTED[name].strip().splitlines())
    return [(path.strip(), kind.strip(), split.strip() or None) for path, kind, split in lines]


def classes(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for _, kind, _ in expected(name)))


@pytest.mark.parametrize("published", OFFICIAL, indirect=True)
def test_download_check_unpack_read(
    published: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = opened(published, tmp_path)
    assert images.table["status"].to_list() == ["ok"] * 4
    assert images.table.select("path", "class_name", "split").rows() == expected(published)
    assert images.class_names == classes(published)
    order = [images.class_names.index(kind) for _, kind, _ in expected(published)]
    assert images.labels().tolist() == order

    # Table 2 counts more images than these: said in the log, and handed on, with both numbers.
    (warning,) = images.warnings
    assert f"{published}: 4 images in {len(classes(published))} classes of " in warning
    assert f"; Table 2 of the paper has {OFFICIAL[published].published}" in warning
    assert warning in caplog.text

    # Nothing is left of the way there, and nothing is fetched twice.
    left = {item.name for item in (tmp_path / "data" / published).iterdir()}
    assert not [name for name in left if "unpacking" in name or name.endswith((".part", ".files"))]
    if published != "imagenet":
        assert not [name for name in left if name.endswith((".tar", "gz", ".zip"))]
    assert (".fetched-by-fnx" in left) == (published != "imagenet"), "but not where a user's lie"
    server.asked.clear()
    again = opened(published, tmp_path)
    assert server.asked == []
    assert again.table.equals(images.table)
    limited = opened(published, tmp_path, limit_per_class=1)
    assert limited.warnings == ()
    assert len(limited.table) == len(classes(published))


@pytest.mark.parametrize("published", ["cub200", "wood"], indirect=True)
def test_a_few_images_are_embedded(
    published: str, tmp_path: Path, tiny: Callable[..., Config]
) -> None:
    words = [f"dataset={published}", f"paths.data={tmp_path / 'data'}", "dataset.download=true"]
    config = tiny(*words, "dataset.limit_per_class=2")
    images = open_images(config.dataset, Path(config.paths.cache))
    embedding, _ = embed(images, config)
    assert embedding.features.shape[0] == 4
    assert embedding.class_names == classes(published)


@pytest.mark.parametrize("name", ["caltech101", "caltech256"])
def test_background_is_kept_on_demand(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, server, monkeypatch)
    images = opened(name, tmp_path, include_background=True)
    background = {"caltech101": ("BACKGROUND Google", 1), "caltech256": ("clutter", 2)}
    kind, place = background[name]
    assert images.class_names == (*classes(name)[:place], kind, *classes(name)[place:])
    assert images.labels().tolist().count(place) == 1


def test_the_root_may_be_the_folder_the_archive_brings(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, inside in {
        "cub200": "CUB_200_2011",
        "caltech101": "caltech-101/101_ObjectCategories",
        "caltech256": "256_ObjectCategories",
        "food101": "food-101",
    }.items():
        publish(name, server, monkeypatch)
        outer = opened(name, tmp_path)
        config = replace(dataset(name, tmp_path), download=False)
        config.root = f"{config.root}/{inside}"
        inner = open_images(config, tmp_path / "cache")
        assert inner.digest() == outer.digest(), "one embedding for both"


def test_caltechs_class_folders_may_be_the_root_itself(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("caltech101", server, monkeypatch)
    opened("caltech101", tmp_path)
    classes = tmp_path / "data/caltech101/caltech-101/101_ObjectCategories"
    assert not classes.with_suffix(".tar.gz").exists(), "unpacked, and no longer needed"
    classes.rename(tmp_path / "mine")
    config = DatasetConfig(name="c", layout="caltech101", root=str(tmp_path / "mine"))
    assert list_images(config).class_names == ["accordion"] * 2 + ["Faces easy"] * 2


MISSING = {
    "imagenet": "neither ILSVRC2012_val_*.JPEG nor folders by synset",
    "cub200": "no images, images.txt, classes.txt, image_class_labels.txt, train_test_split.txt",
    "wood": "neither names.txt nor folders by class",
    "flowers102": "no jpg, imagelabels.mat, setid.mat",
    "caltech101": "no 101_ObjectCategories",
    "mit67": "no Images, TrainImages.txt, TestImages.txt",
    "textures": "no images, labels/train1.txt, labels/val1.txt, labels/test1.txt",
    "caltech256": "no 256_ObjectCategories",
    "stanforddogs": "no Images, train_list.mat, test_list.mat",
    "catsdogs": "no images, annotations/list.txt, annotations/trainval.txt, annotations/test.txt",
    "food101": "no images, meta/test.txt",
}


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize("name", OFFICIAL)
def test_what_is_not_there_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    config = replace(dataset(name, tmp_path), download=False)
    with pytest.raises(DataError) as absent:
        list_images(config)
    Path(str(config.root)).mkdir(parents=True)
    with pytest.raises(DataError) as empty:
        list_images(config)
    for line in (str(absent.value), str(empty.value)):
        assert "\n" not in line
        assert str(config.root) in line
        assert OFFICIAL[name].layout in line
        assert f"python -m fnx dataset={name} dataset.download=true" in line
    title = OFFICIAL[name].title
    place = f"{title} is not complete in '{config.root}' (dataset.root): "
    assert str(absent.value).startswith(f"{place}no such folder; expected ")
    assert str(empty.value).startswith(f"{place}{MISSING[name]}; expected ")


def test_of_several_folders_the_one_that_has_most_is_completed(tmp_path: Path) -> None:
    config = replace(dataset("textures", tmp_path), download=False)
    for name in ("images", "dtd/images", "dtd/labels/train1.txt"):
        touch(Path(str(config.root)) / name)
    with pytest.raises(MissingDataError, match=r": no labels/val1.txt, labels/test1.txt; expected"):
        list_images(config)


def test_a_root_is_asked_for() -> None:
    for name in ("textures", "imagenet", "wood", "caltech256"):
        with pytest.raises(ConfigError, match=r"^dataset.root is missing: give it as dataset.root"):
            list_images(DatasetConfig(name="x", layout=name, download=True))


def test_lists_whose_images_are_all_gone_are_said_with_the_first(tmp_path: Path) -> None:
    config = replace(dataset("mit67", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "Images/other.jpg")
    for name in ("TrainImages.txt", "TestImages.txt"):
        touch(root / name)
    with pytest.raises(MissingDataError, match=r"\(dataset.root\): no images; expected"):
        list_images(config)
    (root / "TestImages.txt").write_text("".join(f"bar/{n}.jpg\n" for n in range(1_001)))
    with pytest.raises(MissingDataError, match=r": none of the 1,001 images, as Images/bar/0.jpg;"):
        list_images(config)


def test_lists_are_read_as_people_leave_them(tmp_path: Path) -> None:
    config = replace(dataset("mit67", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "Images/a/1.jpg")
    (root / "TrainImages.txt").write_bytes(b"\xef\xbb\xbfa/1.jpg \r\n\r\n  b/2.jpg")
    (root / "TestImages.txt").touch()
    assert list_images(config).paths == ["Images/a/1.jpg", "Images/b/2.jpg"]
    (root / "TestImages.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"^cannot read '.*TestImages.txt': UnicodeDecodeError: "):
        list_images(config)


def test_a_folder_of_a_class_holds_images_by_their_endings_and_nothing_hidden(
    tmp_path: Path,
) -> None:
    config = replace(dataset("wood", tmp_path), download=False)
    root = Path(str(config.root))
    endings = ("jpg", "JPEG", "png", "bmp", "ppm", "pgm", "tif", "tiff", "gif", "webp")
    for name in (*(f"a/1.{ending}" for ending in endings), "a/.2.jpg", "a/3.txt", "b/4.jpg"):
        touch(root / name)
    touch(root / ".c/5.jpg")
    touch(root / "file.jpg")
    found = list_images(config)
    assert set(found.paths) == {*(f"a/1.{ending}" for ending in endings), "b/4.jpg"}
    assert found.classes == ("a", "b")
    (root / "b/4.jpg").unlink()
    with pytest.raises(MissingDataError, match=r": neither names.txt nor folders by class;"):
        list_images(config)


def test_caltech_without_any_class(tmp_path: Path) -> None:
    config = replace(dataset("caltech101", tmp_path), download=False)
    touch(Path(str(config.root)) / "101_ObjectCategories/notes.txt")
    with pytest.raises(MissingDataError, match=r": no classes in 101_ObjectCategories;"):
        list_images(config)


def test_a_single_class_folder_in_the_root_is_not_taken_for_caltech(tmp_path: Path) -> None:
    config = replace(dataset("caltech101", tmp_path), download=False)
    touch(Path(str(config.root)) / "accordion/1.jpg")
    with pytest.raises(MissingDataError, match=r": no 101_ObjectCategories;"):
        list_images(config)
    touch(Path(str(config.root)) / "emu/1.jpg")
    assert list_images(config).classes == ("accordion", "emu")


def test_food_without_the_authors_names_is_called_by_its_folders(tmp_path: Path) -> None:
    config = replace(dataset("food101", tmp_path), download=False)
    root = Path(str(config.root))
    for name in ("images/apple_pie/1.jpg", "meta/test.txt", "meta/classes.txt"):
        touch(root / name)
    (root / "meta/test.txt").write_text("apple_pie/1\n")
    assert list_images(config).class_names == ["apple pie"]


@pytest.mark.parametrize(
    ("labels", "sets", "message"),
    [
        ([0, 1], {}, "labels outside of 1…102"),
        ([1, 103], {}, "labels outside of 1…102"),
        ([1, 102], {"tstid": None}, "expected labels in imagelabels.mat, trnid, valid, tstid in"),
        (None, {}, "expected labels in imagelabels.mat"),
    ],
)
def test_flowers_whose_files_do_not_fit(
    tmp_path: Path, labels: list[int] | None, sets: dict[str, None], message: str
) -> None:
    config = replace(dataset("flowers102", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "jpg/image_00001.jpg")
    found = {"trnid": [[1]], "valid": [[2]], "tstid": [[3]]} | sets
    named = mat(other=[1]) if labels is None else mat(labels=[labels])
    (root / "imagelabels.mat").write_bytes(named)
    (root / "setid.mat").write_bytes(mat(**{k: v for k, v in found.items() if v is not None}))
    with pytest.raises(DataError, match=message):
        list_images(config)


def test_the_first_and_the_last_flower(tmp_path: Path) -> None:
    config = replace(dataset("flowers102", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "jpg/image_00001.jpg")
    (root / "imagelabels.mat").write_bytes(mat(labels=[[102, 1, 2]]))
    (root / "setid.mat").write_bytes(mat(trnid=[[3]], valid=[[1]], tstid=[[4]]))
    found = list_images(config)
    assert found.classes == ("pink primrose", "hard-leaved pocket orchid", "blackberry lily")
    assert found.splits == [None, "train", "val"]


@pytest.mark.parametrize(
    ("name", "file"),
    [("textures", "labels/train1.txt"), ("flowers102", "imagelabels.mat"), ("wood", "names.txt")],
)
def test_an_annotation_that_is_a_pipe_is_refused(name: str, file: str, tmp_path: Path) -> None:
    """Reading it would wait for ever."""
    root = tmp_path / "data" / name
    needed = {
        "textures": ["images/x", "labels/val1.txt", "labels/test1.txt"],
        "flowers102": ["jpg/x", "setid.mat"],
        "wood": [],
    }
    for other in needed[name]:
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        (root / other).touch()
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(root / file)
    config = replace(dataset(name, tmp_path), download=False)
    expected = "neither names.txt" if name == "wood" else f"{file}': not a regular file"
    with pytest.raises(DataError, match=expected):
        list_images(config)


def test_a_list_of_dogs_without_its_variable(tmp_path: Path) -> None:
    config = replace(dataset("stanforddogs", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "Images/n1-a/1.jpg")
    (root / "train_list.mat").write_bytes(mat(file_list=cells("n1-a/1.jpg")))
    (root / "test_list.mat").write_bytes(mat(labels=[1]))
    with pytest.raises(DataError, match=r"test_list.mat: expected a variable file_list"):
        list_images(config)


def test_folders_without_a_number_are_classes_by_their_whole_name(tmp_path: Path) -> None:
    dogs = replace(dataset("stanforddogs", tmp_path), download=False)
    root = Path(str(dogs.root))
    touch(root / "Images/Corgi/1.jpg")
    for name in ("train_list.mat", "test_list.mat"):
        (root / name).write_bytes(mat(file_list=cells(f"Corgi/{len(name)}.jpg", "n1-Toy-x/2.jpg")))
    touch(root / "Images/Corgi/13.jpg")
    assert list_images(dogs).classes == ("Corgi", "Toy-x")
    birds = replace(dataset("cub200", tmp_path), download=False)
    root = Path(str(birds.root))
    touch(root / "images/Towhee/1.jpg")
    for name, text in {
        "images": "1 Towhee/1.jpg\n2 001.St._Ani/2.jpg\n",
        "classes": "1 Towhee\n2 001.St._Ani\n",
        "image_class_labels": "1 1\n2 2\n",
        "train_test_split": "1 1\n2 2\n",
    }.items():
        (root / f"{name}.txt").write_text(text)
    found = list_images(birds)
    assert found.classes == ("Towhee", "St. Ani")
    assert found.splits == ["train", "test"]


def test_a_pet_that_is_in_no_split_has_none(tmp_path: Path) -> None:
    config = replace(dataset("catsdogs", tmp_path), download=False)
    root = Path(str(config.root))
    touch(root / "images/a_b_1.jpg")
    touch(root / "annotations/trainval.txt")
    (root / "annotations/list.txt").write_text("#a\na_b_1 1 1 1\na_b_2 1 1 1\n")
    (root / "annotations/test.txt").write_text("a_b_2 1 1 1\n")
    found = list_images(config)
    assert found.paths == ["images/a_b_1.jpg", "images/a_b_2.jpg"]
    assert (found.classes, found.splits) == (("a b",), [None, "test"])


def test_an_image_that_is_not_there_is_a_row_with_its_reason(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    publish("catsdogs", server, monkeypatch)
    opened("catsdogs", tmp_path)
    (tmp_path / "data/catsdogs/images/Abyssinian_20.jpg").write_bytes(picture("x")[:200])
    with caplog.at_level(logging.WARNING):
        images = opened("catsdogs", tmp_path)
    assert len(images.table.filter(status="failed")) == 1
    assert "3 images in 2 classes of 1–2" in images.warnings[0]


@pytest.mark.parametrize("flat", [True, False])
def test_other_forms_of_imagenet(flat: bool, tmp_path: Path) -> None:
    root = tmp_path / "data/imagenet"
    synsets = ["n01440764", "n03126707", "n01440764"]
    for number, synset in enumerate(synsets, 1):
        folder = root / "val" if flat else root / synset
        folder.mkdir(parents=True, exist_ok=True)
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (folder / name).write_bytes(picture(name))
    if flat:
        with pytest.raises(MissingDataError, match=r"no ground truth \(.*\) for 3 images;"):
            list_images(replace(dataset("imagenet", tmp_path), download=False))
        (root / "validation_labels.txt").write_text("\n".join(synsets))
    images = opened("imagenet", tmp_path)
    assert images.class_names == ("tench", "crane")
    assert images.labels().tolist() == [0, 0, 1]


def flat_imagenet(tmp_path: Path, *numbers: int) -> Path:
    """The root of flat images of ImageNet, without their ground truth."""
    root = tmp_path / "data/imagenet"
    for number in numbers:
        touch(root / f"val/ILSVRC2012_val_{number:08d}.JPEG")
    return root


def test_image_n_of_imagenet_has_line_n(tmp_path: Path) -> None:
    config = replace(dataset("imagenet", tmp_path), download=False)
    truth = flat_imagenet(tmp_path, 2, 3) / "imagenet_2012_validation_synset_labels.txt"
    touch(truth.with_name("val") / "other.JPEG")
    truth.write_text("n01440764\nn01806567\nn01440764\n")
    found = list_images(config)
    assert found.paths == ["val/ILSVRC2012_val_00000003.JPEG", "val/ILSVRC2012_val_00000002.JPEG"]
    assert found.class_names == ["tench", "quail"]
    for text in ("", "n01440764\n"):
        truth.write_text(text)
        with pytest.raises(DataError, match=r"has no label for 2 images, as val/\S+02.JPEG$"):
            list_images(config)
    truth.unlink()
    (truth.with_name("LOC_val_solution.csv")).write_text("ImageId\nILSVRC2012_val_00000002\n")
    with pytest.raises(DataError, match="has no label for 2 images"):
        list_images(config)


def test_synsets_of_imagenet_are_eight_digits_and_may_lie_in_other_places(tmp_path: Path) -> None:
    config = replace(dataset("imagenet", tmp_path), download=False)
    root = Path(str(config.root))
    for name in ("n0144076/1.JPEG", "n014407640/2.JPEG", "validation/n01440764/3.JPEG"):
        touch(root / name)
    assert list_images(config).paths == ["validation/n01440764/3.JPEG"]
    touch(root / "n01806567/4.JPEG")
    assert list_images(config).paths == ["n01806567/4.JPEG"], "the root comes first"


def test_without_timms_list_synsets_are_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    config = replace(dataset("imagenet", tmp_path), download=False)
    touch(Path(str(config.root)) / "n01440764/1.JPEG")
    spec = SimpleNamespace(origin=str(tmp_path / "timm/__init__.py"))
    monkeypatch.setattr(imagenet, "find_spec", {"timm": spec}.get)
    assert list_images(config).class_names == ["n01440764"]
    assert "timm has no list of synsets" in caplog.text
    names = tmp_path / "timm/data/_info/imagenet_synset_to_lemma.txt"
    touch(names)
    names.write_text("n01440764\ttench , Tinca tinca\n")
    assert list_images(config).class_names == ["tench"]


def test_ground_truth_in_numbers_or_from_kaggle(tmp_path: Path, caplog: Any) -> None:
    root = tmp_path / "data/imagenet"
    (root / "val").mkdir(parents=True)
    for number in (1, 2):
        name = f"val/ILSVRC2012_val_{number:08d}.JPEG"
        (root / name).write_bytes(picture(name))
    truth = root / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("490\n")
    with pytest.raises(DataError) as caught:
        opened("imagenet", tmp_path)
    assert str(caught.value) == (
        f"{truth} has no label for 1 images, as val/ILSVRC2012_val_00000002.JPEG"
    )
    truth.write_text("490\n361\n")
    assert opened("imagenet", tmp_path).class_names == ("class 361", "class 490")
    assert "numbers only" in caplog.text
    truth.unlink()
    (root / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4 \n"
        "ILSVRC2012_val_00000001,n01806567 1 2 3 4 n01806567 5 6 7 8 \n"
    )
    images = opened("imagenet", tmp_path)
    assert dict(images.table.select("path", "class_name").iter_rows()) == {
        "val/ILSVRC2012_val_00000001.JPEG": "quail",
        "val/ILSVRC2012_val_00000002.JPEG": "tench",
    }


def test_wood_in_folders_or_converted(tmp_path: Path) -> None:
    root = tmp_path / "data/wood"
    for name in ("dry_knot/1.jpg", "dry_knot/2.jpg", "edge_knot/3.jpg", "edge_knot/notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(name))
    for name in ("figures/4.jpg", "a/5.jpg", "a/run.log", "a/.hydra/x", "run.json"):  # of runs
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(name))
    (root / "distances.npy").touch()
    assert opened("wood", tmp_path).labels().tolist() == [0, 0, 1]
    (root / "names.txt").write_text("a.ppm dry_knot 1\nb.ppm leaf_knot 2\n")
    (root / "images").mkdir()
    for name in ("images/a.jpg", "images/b.jpg"):
        (root / name).write_bytes(picture(name))
    config = replace(dataset("wood", tmp_path), download=False)
    images = open_images(config, tmp_path / "cache")
    assert images.class_names == ("dry knot", "leaf knot")


def test_lists_that_do_not_fit_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cub200", server, monkeypatch)
    opened("cub200", tmp_path)
    labels = tmp_path / "data/cub200/CUB_200_2011/image_class_labels.txt"
    labels.write_text("1 20\n2 20\n")
    with pytest.raises(DataError, match="4 images, 2 labels, 4 splits, 2 classes"):
        opened("cub200", tmp_path)
    labels.write_text("1 20\n2 20\n3 21\n4 22\n")
    with pytest.raises(DataError, match="4 images, 4 labels, 4 splits, 2 classes"):
        opened("cub200", tmp_path)
    labels.write_text("1 20\n2 20\n3 21\n4 21\n")
    splits = labels.with_name("train_test_split.txt")
    splits.write_text("1 0\n")
    with pytest.raises(DataError, match="4 images, 4 labels, 1 splits, 2 classes"):
        opened("cub200", tmp_path)
    labels.write_text("1 1\n2\n")
    with pytest.raises(DataError, match="expected 2 words in each line"):
        opened("cub200", tmp_path)


def test_a_damaged_mat_file_is_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("flowers102", server, monkeypatch)
    opened("flowers102", tmp_path)
    (tmp_path / "data/flowers102/setid.mat").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match=r"cannot read .*setid.mat"):
        opened("flowers102", tmp_path)
