"""Small archives of the eleven data sets of Table 2, in their authors' layouts.

Each builder writes, into an empty folder, the files that the authors publish (by the names of
`fnx.images.official.OFFICIAL`). The images are random and of few pixels.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def picture(name: str) -> bytes:
    """An image file in the format of the name's ending, another for each name."""
    pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (40, 44, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PPM" if name.endswith(".ppm") else "JPEG")
    return buffer.getvalue()


def tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz" if file.name.endswith(("gz", "tgz")) else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info, io.BytesIO(content))


def pictures(*names: str) -> dict[str, bytes]:
    return {name: picture(name) for name in names}


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def cells(*values: str) -> np.ndarray:
    column = np.empty((len(values), 1), object)
    column[:, 0] = values
    return column


def imagenet(folder: Path) -> None:
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 5)]
    tar(folder / "ILSVRC2012_img_val.tar", pictures(*names))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    # The kit's numbers do not follow the synsets; "crane" is the name of two.
    synsets = np.array(
        [(1, "n03126707", "crane"), (2, "n02012849", "crane"), (3, "n01440764", "tench, x")], kinds
    )
    data = "ILSVRC2012_devkit_t12/data/"
    tar(
        folder / "ILSVRC2012_devkit_t12.tar.gz",
        {
            data + "meta.mat": mat(synsets=synsets),
            data + "ILSVRC2012_validation_ground_truth.txt": text("3", "1", "2", "3"),
        },
    )


def cub200(folder: Path) -> None:
    files = [  # the classes' numbers are not in order of their names
        "020.Yellow_breasted_Chat/Yellow_Breasted_Chat_0002_1027.jpg",
        "020.Yellow_breasted_Chat/Yellow_Breasted_Chat_0003_1033.jpg",
        "021.Eastern_Towhee/Eastern_Towhee_0001_796111.jpg",
        "021.Eastern_Towhee/Eastern_Towhee_0009_34.jpg",
    ]
    base = "CUB_200_2011/"
    tar(
        folder / "CUB_200_2011.tgz",
        {
            "attributes.txt": text("1 has_bill_shape::curved_(up_or_down)"),
            **{f"{base}images/{name}": picture(name) for name in files},
            base + "images.txt": text(*(f"{n} {name}" for n, name in enumerate(files, 1))),
            base + "classes.txt": text("20 020.Yellow_breasted_Chat", "21 021.Eastern_Towhee"),
            base + "image_class_labels.txt": text("1 20", "2 20", "3 21", "4 21"),
            base + "train_test_split.txt": text("1 0", "2 1", "3 1", "4 0"),
        },
    )


def wood(folder: Path) -> None:
    names = {
        "st1005.ppm": "dry_knot", "st1009.ppm": "sound_knot",
        "st1010.ppm": "dry_knot", "st1012.ppm": "sound_knot",
    }  # fmt: skip
    (folder / "names.txt").write_bytes(text(*(f"{f} {label} 3" for f, label in names.items())))
    for name, content in pictures(*names).items():
        (folder / name).write_bytes(content)


def flowers102(folder: Path) -> None:
    tar(folder / "102flowers.tgz", pictures(*(f"jpg/image_{n:05d}.jpg" for n in range(1, 5))))
    (folder / "imagelabels.mat").write_bytes(mat(labels=np.array([[77, 1, 77, 1]], np.uint8)))
    (folder / "setid.mat").write_bytes(mat(trnid=[[1, 2]], valid=[[3]], tstid=[[4]]))


def caltech101(folder: Path) -> None:
    base = "101_ObjectCategories/"
    tar(
        folder / "inner.tar.gz",
        pictures(
            base + "BACKGROUND_Google/image_0001.jpg",
            base + "Faces_easy/image_0001.jpg",
            base + "Faces_easy/image_0002.jpg",
            base + "accordion/image_0001.jpg",
            base + "accordion/image_0010.jpg",
        ),
    )
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        archive.write(folder / "inner.tar.gz", "caltech-101/101_ObjectCategories.tar.gz")
        archive.writestr("caltech-101/Annotations.tar", b"not looked at")
        archive.writestr("__MACOSX/caltech-101/._Annotations.tar", b"nor this")
    (folder / "inner.tar.gz").unlink()


def mit67(folder: Path) -> None:
    listed = ["airport_inside/a_1.jpg", "airport_inside/b_2.jpg", "bar/c_3.jpg", "bar/d_4.jpg"]
    members = pictures(*(f"Images/{name}" for name in [*listed, "bar/in_no_list.jpg"]))
    tar(folder / "indoorCVPR_09.tar", members)
    (folder / "TrainImages.txt").write_bytes(text(listed[0], listed[2]))
    (folder / "TestImages.txt").write_bytes(text(listed[1], listed[3])[:-1])


def textures(folder: Path) -> None:
    names = ["banded/banded_0002.jpg", "banded/banded_0004.jpg"]
    names += ["polka-dotted/polka-dotted_0001.jpg", "polka-dotted/polka-dotted_0003.jpg"]
    lists = {"train1": names[:1], "val1": names[1:3], "test1": names[3:], "train2": names[:2]}
    tar(
        folder / "dtd-r1.0.1.tar.gz",
        {
            **{f"dtd/images/{name}": picture(name) for name in names},
            **{f"dtd/labels/{name}.txt": text(*files) for name, files in lists.items()},
        },
    )


def caltech256(folder: Path) -> None:
    base = "256_ObjectCategories/"
    tar(
        folder / "256_ObjectCategories.tar",
        {
            **pictures(
                base + "250.zebra/250_0001.jpg",
                base + "250.zebra/250_0002.jpg",
                base + "251.airplanes-101/251_0001.jpg",
                base + "251.airplanes-101/251_0002.jpg",
                base + "257.clutter/257_0001.jpg",
            ),
            # Two strays that the authors' archive really has, though in other classes.
            base + "250.zebra/greg/vision309/250_0001.jpg": picture("stray"),
            base + "198.spider/RENAME2": text("mv"),
        },
    )


def stanforddogs(folder: Path) -> None:
    train = ["n02085620-Chihuahua/n02085620_10074.jpg", "n02086646-Blenheim_spaniel/n1_2.jpg"]
    test = ["n02085620-Chihuahua/n02085620_2.jpg", "n02086646-Blenheim_spaniel/n1_10.jpg"]
    tar(folder / "images.tar", pictures(*(f"Images/{name}" for name in train + test)))
    tar(
        folder / "lists.tar",
        {
            "file_list.mat": mat(file_list=cells(*train, *test)),
            "train_list.mat": mat(file_list=cells(*train)),
            "test_list.mat": mat(file_list=cells(*test)),
        },
    )


def catsdogs(folder: Path) -> None:
    names = ["Abyssinian_1", "Abyssinian_20", "american_bulldog_1", "american_bulldog_3"]
    members = pictures(*(f"images/{name}.jpg" for name in names))
    tar(folder / "images.tar.gz", {**members, "images/Abyssinian_100.mat": b"not an image"})
    rows = [f"{name} {1 + (name[0] == 'a')} 1 1" for name in names]
    header = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"]
    tar(
        folder / "annotations.tar.gz",
        {
            "annotations/list.txt": text(*header, *rows),
            "annotations/trainval.txt": text(rows[0], rows[2]),
            "annotations/test.txt": text(rows[1], rows[3]),
        },
    )


def food101(folder: Path) -> None:
    test = ["apple_pie/1011328", "apple_pie/101251", "creme_brulee/1", "creme_brulee/23"]
    tar(
        folder / "food-101.tar.gz",
        {
            **{f"food-101/images/{n}.jpg": picture(n) for n in [*test, "apple_pie/7"]},
            "food-101/meta/test.txt": text(*test),
            "food-101/meta/train.txt": text("apple_pie/7"),
            "food-101/meta/classes.txt": text("apple_pie", "creme_brulee"),
            "food-101/meta/labels.txt": text("Apple pie", "Creme brulee"),
        },
    )


BUILDERS: dict[str, Callable[[Path], None]] = {
    "imagenet": imagenet,
    "cub200": cub200,
    "wood": wood,
    "flowers102": flowers102,
    "caltech101": caltech101,
    "mit67": mit67,
    "textures": textures,
    "caltech256": caltech256,
    "stanforddogs": stanforddogs,
    "catsdogs": catsdogs,
    "food101": food101,
}
