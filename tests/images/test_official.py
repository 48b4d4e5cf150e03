"""The eleven data sets of Table 2: fetched from a server, unpacked, checked and read."""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.images.archives import BUILDERS, picture, tar

from fnx.config.schema import Config, DatasetConfig
from fnx.embedding.embed import embed
from fnx.errors import ConfigError, DataError
from fnx.images import LabelledImages, open_images
from fnx.images.layouts.readers import list_images
from fnx.images.official import OFFICIAL, Archive


@dataclass
class Server:
    """A web server of one folder; `asked` holds each request's path and its Range header."""

    folder: Path
    url: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    found = Server(folder, "")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            found.asked.append((self.path.lstrip("/"), wanted))
            file = folder / self.path.lstrip("/")
            if wanted is None or not file.is_file():
                return super().do_GET()
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            content = file.read_bytes()
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[first:])
            return None

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    found.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    http.shutdown()
    http.server_close()


def publish(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a small archive of the data set on the server, with its true checksum published."""
    BUILDERS[name](server.folder)

    def here(archive: Archive) -> Archive:
        if not archive.public:
            return replace(archive, md5=md5(server.folder / archive.name))
        url = server.url + archive.name
        return replace(archive, url=url, md5=md5(server.folder / archive.name))

    moved = tuple(here(archive) for archive in OFFICIAL[name].archives)
    monkeypatch.setitem(OFFICIAL, name, replace(OFFICIAL[name], archives=moved))


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def dataset(name: str, tmp_path: Path, **options: Any) -> DatasetConfig:
    root = tmp_path / "data" / name
    return DatasetConfig(name=name, layout=name, root=str(root), download=True, **options)


def opened(name: str, tmp_path: Path, **options: Any) -> LabelledImages:
    return open_images(dataset(name, tmp_path, **options), tmp_path / "cache")


@pytest.fixture
def published(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> str:
    name: str = request.param
    publish(name, server, monkeypatch)
    if name == "imagenet":  # the account's holder brings the archives
        shutil.copytree(server.folder, tmp_path / "data" / name)
    return name


EXPECTED = {
    "imagenet": {"tench": 2, "crane (n02012849)": 1, "crane (n03126707)": 1},
    "cub200": {"Black footed Albatross": 2, "Laysan Albatross": 2},
    "wood": {"dry knot": 2, "sound knot": 2},
    "flowers102": {"pink primrose": 2, "passion flower": 2},
    "caltech101": {"accordion": 2, "Faces easy": 2},
    "mit67": {"airport inside": 2, "bar": 2},
    "textures": {"banded": 2, "polka-dotted": 2},
    "caltech256": {"ak47": 2, "dog": 2},
    "stanforddogs": {"Blenheim spaniel": 2, "Chihuahua": 2},
    "catsdogs": {"Abyssinian": 2, "american bulldog": 2},
    "food101": {"Apple pie": 2, "Creme brulee": 2},
}
SPLITS = {
    "imagenet": {"val": 4},
    "cub200": {"train": 2, "test": 2},
    "flowers102": {"train": 2, "val": 1, "test": 1},
    "mit67": {"train": 2, "test": 2},
    "textures": {"train": 1, "val": 2, "test": 1},
    "stanforddogs": {"train": 2, "test": 2},
    "catsdogs": {"trainval": 2, "test": 2},
    "food101": {"test": 4},
}


@pytest.mark.parametrize("published", OFFICIAL, indirect=True)
def test_download_check_unpack_read(
    published: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = opened(published, tmp_path)
    assert images.table["status"].to_list() == ["ok"] * 4
    assert dict(Counter(images.table["class_name"])) == EXPECTED[published]
    splits = {split: count for split, count in Counter(images.table["split"]).items() if split}
    assert splits == SPLITS.get(published, {})

    # Table 2 counts more images than these: said in the log, and handed on, with both numbers.
    (warning,) = images.warnings
    assert "4 images in" in warning
    assert f"{OFFICIAL[published].published.images:,} images" in warning
    assert warning in caplog.text

    # Nothing is left of the way there, and nothing is fetched twice.
    left = {item.name for item in (tmp_path / "data" / published).iterdir()}
    assert not [name for name in left if "unpacking" in name or name.endswith((".part", ".files"))]
    if published != "imagenet":
        assert not [name for name in left if name.endswith((".tar", "gz", ".zip"))]
    server.asked.clear()
    again = opened(published, tmp_path)
    assert server.asked == []
    assert again.table.equals(images.table)
    limited = opened(published, tmp_path, limit_per_class=1)
    assert limited.warnings == ()
    assert len(limited.table) == len(EXPECTED[published])


@pytest.mark.parametrize("published", ["cub200", "wood"], indirect=True)
def test_a_few_images_are_embedded(
    published: str, tmp_path: Path, tiny: Callable[..., Config]
) -> None:
    words = [f"dataset={published}", f"paths.data={tmp_path / 'data'}", "dataset.download=true"]
    config = tiny(*words, "dataset.limit_per_class=2")
    images = open_images(config.dataset, Path(config.paths.cache))
    embedding, _ = embed(images, config)
    assert embedding.features.shape[0] == 4
    assert embedding.class_names == tuple(EXPECTED[published])


def test_the_order_of_classes_is_the_authors(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("flowers102", server, monkeypatch)
    images = opened("flowers102", tmp_path)
    assert images.class_names == ("pink primrose", "passion flower")
    assert images.table["path"].to_list()[:2] == ["jpg/image_00002.jpg", "jpg/image_00004.jpg"]


@pytest.mark.parametrize("name", ["caltech101", "caltech256"])
def test_background_is_kept_on_demand(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, server, monkeypatch)
    images = opened(name, tmp_path, include_background=True)
    assert len(images.table) == 5
    assert set(images.class_names) - set(EXPECTED[name]) in ({"BACKGROUND Google"}, {"clutter"})


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
    classes.rename(tmp_path / "mine")
    config = DatasetConfig(name="c", layout="caltech101", root=str(tmp_path / "mine"))
    assert list_images(config).class_names == ["accordion"] * 2 + ["Faces easy"] * 2


def test_an_interrupted_download_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cub200", server, monkeypatch)
    root = tmp_path / "data/cub200"
    root.mkdir(parents=True)
    whole = (server.folder / "CUB_200_2011.tgz").read_bytes()
    (root / "CUB_200_2011.tgz.part").write_bytes(whole[:1000])
    assert len(opened("cub200", tmp_path).table) == 4
    assert server.asked == [("CUB_200_2011.tgz", "bytes=1000-")]


def test_an_interruption_while_unpacking_is_not_taken_for_data(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("textures", server, monkeypatch)

    def interrupted(archive: Path, folder: Path) -> None:
        (folder / "dtd/labels").mkdir(parents=True)
        (folder / "dtd/images").mkdir()
        for name in ("train1", "val1", "test1"):
            (folder / f"dtd/labels/{name}.txt").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fnx.images.fetch.unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened("textures", tmp_path)
    with pytest.raises(DataError, match="Describable Textures is not complete"):
        list_images(replace(dataset("textures", tmp_path), download=False))
    assert len(opened("textures", tmp_path).table) == 4
    assert len(server.asked) == 1, "the archive was there already"


def test_what_is_incomplete_is_fetched_and_kept_aside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    publish("mit67", server, monkeypatch)
    opened("mit67", tmp_path)
    root = tmp_path / "data/mit67"
    (root / "Images/bar/c_3.jpg").unlink()
    (root / "Images/bar/mine.txt").write_text("kept")
    found = open_images(replace(dataset("mit67", tmp_path), download=False), tmp_path / "cache")
    assert found.table.filter(status="failed")["error"].to_list() == ["No such file or directory"]
    assert "1 images that its lists name are not in" in found.warnings[1]
    assert "python -m fnx dataset=mit67 dataset.download=true" in found.warnings[1]
    assert len(opened("mit67", tmp_path).ok()) == 4
    assert (root / "Images.incomplete-1/bar/mine.txt").read_text() == "kept"
    assert "is now called Images.incomplete-1" in caplog.text


def test_another_checksum_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("caltech256", server, monkeypatch)
    tar(server.folder / "256_ObjectCategories.tar", {"x": b"another"})
    with pytest.raises(DataError, match=r"256_ObjectCategories.tar is another file than expected"):
        opened("caltech256", tmp_path)
    assert list((tmp_path / "data/caltech256").iterdir()) == []


def test_a_brought_archive_with_another_checksum_is_refused_and_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("imagenet", server, monkeypatch)
    root = tmp_path / "data/imagenet"
    shutil.copytree(server.folder, root)
    tar(root / "ILSVRC2012_img_val.tar", {"x": b"another"})
    with pytest.raises(DataError, match="not what its authors published"):
        opened("imagenet", tmp_path)
    assert (root / "ILSVRC2012_img_val.tar").exists()


def test_a_damaged_archive_without_published_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cub200", server, monkeypatch)
    file = server.folder / "CUB_200_2011.tgz"
    file.write_bytes(file.read_bytes()[:-3000])
    archive = replace(OFFICIAL["cub200"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "cub200", replace(OFFICIAL["cub200"], archives=(archive,)))
    with pytest.raises(DataError, match=r"cannot unpack CUB_200_2011.tgz: .* to fetch it anew"):
        opened("cub200", tmp_path)
    assert not (tmp_path / "data/cub200/CUB_200_2011").exists()


def test_a_list_that_names_files_elsewhere_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("wood", server, monkeypatch)
    (server.folder / "names.txt").write_text("../../outside.ppm dry_knot\nb.ppm sound_knot\n")
    archive = replace(OFFICIAL["wood"].archives[0], md5=None)
    monkeypatch.setitem(OFFICIAL, "wood", replace(OFFICIAL["wood"], archives=(archive,)))
    with pytest.raises(DataError, match=r"names.txt is refused: its file '../../outside.ppm'"):
        opened("wood", tmp_path)


def test_an_address_that_is_gone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("food101", server, monkeypatch)
    (server.folder / "food-101.tar.gz").unlink()
    with pytest.raises(DataError, match=r"food-101.tar.gz cannot be fetched.*404"):
        opened("food101", tmp_path)


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
    assert "no such folder" in str(absent.value)
    assert "no such folder" not in str(empty.value)


def test_an_account_is_asked_for_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ILSVRC2012_img_val.tar .*account at https://image-net"):
        opened("imagenet", tmp_path)


def test_only_published_data_sets_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no archive is known for folder; allowed for imagenet"):
        list_images(DatasetConfig(name="x", layout="folder", root=str(tmp_path), download=True))


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
        with pytest.raises(DataError, match="no ground truth"):
            list_images(replace(dataset("imagenet", tmp_path), download=False))
        (root / "validation_labels.txt").write_text("\n".join(synsets))
    images = opened("imagenet", tmp_path)
    assert images.class_names == ("tench", "crane")
    assert images.labels().tolist() == [0, 0, 1]


def test_ground_truth_in_numbers_or_from_kaggle(tmp_path: Path, caplog: Any) -> None:
    root = tmp_path / "data/imagenet"
    (root / "val").mkdir(parents=True)
    for number in (1, 2):
        name = f"val/ILSVRC2012_val_{number:08d}.JPEG"
        (root / name).write_bytes(picture(name))
    truth = root / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("490\n")
    with pytest.raises(DataError, match="has no label for 1 images"):
        opened("imagenet", tmp_path)
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
    labels.write_text("1 1\n2 1\n")
    with pytest.raises(DataError, match="4 images, 2 labels"):
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
