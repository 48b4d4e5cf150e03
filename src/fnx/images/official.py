"""The eleven data sets of the paper's Table 2: counts, layouts and authors' archives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fnx.config.schema import DatasetConfig


@dataclass(frozen=True)
class Counts:
    """Numbers of images and classes, and of images in the smallest and the largest class."""

    images: int
    classes: int
    smallest: int
    largest: int

    def __str__(self) -> str:
        span = f"{self.smallest}–{self.largest}" if self.smallest != self.largest else self.smallest
        return f"{self.images:,} images in {self.classes:,} classes of {span}"


@dataclass(frozen=True)
class Archive:
    """A file that the authors publish.

    Attributes:
        url: its address; without a scheme (the name alone) where a form or an account is asked for.
        md5: its published checksum; None where none is published. Then the address has TLS.
        sha256: likewise.
        into: folder below the data set's root that it is unpacked, or put, into.
        inner: archives inside it that are unpacked where they lie.
        each: a text file whose lines begin with the names of files that lie beside it and are
            fetched too.
    """

    url: str
    md5: str | None = None
    sha256: str | None = None
    into: str = ""
    inner: tuple[str, ...] = ()
    each: bool = False

    @property
    def name(self) -> str:
        """Return the file's name, the last part of its address."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def checksum(self) -> dict[str, str]:
        """Return the published checksum by its algorithm, if there is one."""
        known = {"md5": self.md5, "sha256": self.sha256}
        return {algorithm: digest for algorithm, digest in known.items() if digest is not None}

    @property
    def public(self) -> bool:
        """Return whether it can be fetched without a form or an account."""
        return self.url.startswith(("http://", "https://"))


@dataclass(frozen=True)
class DataSet:
    """A data set of Table 2.

    Attributes:
        title: what its authors call it.
        page: its authors' page.
        published: its row of Table 2.
        layout: what the reader expects below `dataset.root`, in one line.
        archives: what its authors publish.
        note: why its counts differ from Table 2 as far as that is known.
    """

    title: str
    page: str
    published: Counts
    layout: str
    archives: tuple[Archive, ...]
    note: str = ""

    @property
    def public(self) -> bool:
        """Return whether all of it can be fetched without a form or an account."""
        return all(archive.public for archive in self.archives)


_CALTECH = "https://data.caltech.edu/records/"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data/"
_MIT = "https://web.mit.edu/torralba/www/"
_DOGS = "http://vision.stanford.edu/aditya86/ImageNetDogs/"

# In the paper's order: by average number of images per class. Checksums are those of torchvision's
# data sets (for cub200 of its authors, for stanforddogs of TensorFlow's); where none is published
# there is none here, and the address has TLS.
OFFICIAL: dict[str, DataSet] = {
    "imagenet": DataSet(
        "ImageNet 2012 (validation)",
        "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        Counts(50_000, 1_000, 50, 50),
        "val/ILSVRC2012_val_*.JPEG with ILSVRC2012_devkit_t12/data/"
        "ILSVRC2012_validation_ground_truth.txt and meta.mat, or val/<synset>/*.JPEG",
        (
            Archive("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", into="val"),
            Archive("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
        ),
    ),
    "cub200": DataSet(
        "Caltech-UCSD Birds 200-2011",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        Counts(11_788, 200, 41, 60),
        "CUB_200_2011/ with images/<class>/*.jpg, images.txt, classes.txt, "
        "image_class_labels.txt and train_test_split.txt",
        (
            Archive(
                f"{_CALTECH}65de6-vp158/files/CUB_200_2011.tgz", "97eceeb196236b17998738112f37df78"
            ),
        ),
    ),
    "wood": DataSet(
        "Oulu knots",
        "http://www.ee.oulu.fi/~olli/Projects/Lumber.Grading.html",
        Counts(438, 7, 14, 179),
        "names.txt (a line per image: file and class) beside its images, or <class>/<image>",
        (
            Archive(
                "https://www.ee.oulu.fi/research/imag/knots/KNOTS/names.txt",
                into="KNOTS",
                each=True,
            ),
        ),
    ),
    "flowers102": DataSet(
        "Oxford 102 Flowers",
        f"{_VGG}flowers/102/",
        Counts(8_189, 102, 40, 258),
        "jpg/image_*.jpg, imagelabels.mat and setid.mat",
        (
            Archive(f"{_VGG}flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
            Archive(f"{_VGG}flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
            Archive(f"{_VGG}flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
        ),
    ),
    "caltech101": DataSet(
        "Caltech 101",
        f"{_CALTECH}mzrjq-6wc02",
        Counts(9_146, 101, 31, 800),
        "101_ObjectCategories/<class>/*.jpg",
        (
            Archive(
                f"{_CALTECH}mzrjq-6wc02/files/caltech-101.zip",
                "3138e1922a9193bfa496528edbbc45d0",
                inner=("caltech-101/101_ObjectCategories.tar.gz",),
            ),
        ),
        note="Table 2 counts the background's images but not its class",
    ),
    "mit67": DataSet(
        "MIT Indoor 67",
        f"{_MIT}indoor.html",
        Counts(6_700, 67, 100, 100),
        "Images/<class>/*.jpg, TrainImages.txt and TestImages.txt",
        (
            Archive("https://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar"),
            Archive(f"{_MIT}TrainImages.txt"),
            Archive(f"{_MIT}TestImages.txt"),
        ),
    ),
    "textures": DataSet(
        "Describable Textures",
        f"{_VGG}dtd/",
        Counts(5_640, 47, 120, 120),
        "dtd/ with images/<class>/*.jpg and labels/train1.txt, val1.txt, test1.txt",
        (Archive(f"{_VGG}dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),),
    ),
    "caltech256": DataSet(
        "Caltech 256",
        f"{_CALTECH}nyy15-4j048",
        Counts(30_607, 256, 80, 800),
        "256_ObjectCategories/<number>.<class>/*.jpg",
        (
            Archive(
                f"{_CALTECH}nyy15-4j048/files/256_ObjectCategories.tar",
                "67b4f42ca05d46448c6bb8ecd2220f6d",
            ),
        ),
        note="Table 2 counts the clutter's images but not its class",
    ),
    "stanforddogs": DataSet(
        "Stanford Dogs",
        _DOGS,
        Counts(20_580, 120, 150, 200),
        "Images/<synset>-<class>/*.jpg, file_list.mat, train_list.mat and test_list.mat",
        (
            Archive(
                f"{_DOGS}images.tar",
                sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
            ),
            Archive(
                f"{_DOGS}lists.tar",
                sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
            ),
        ),
        note="the authors' lists hold 148 to 252 images per class",
    ),
    "catsdogs": DataSet(
        "Oxford-IIIT Pet",
        f"{_VGG}pets/",
        Counts(7_349, 37, 184, 200),
        "images/*.jpg and annotations/ with list.txt, trainval.txt and test.txt",
        (
            Archive(f"{_VGG}pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            Archive(f"{_VGG}pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
        ),
    ),
    "food101": DataSet(
        "Food-101 (test)",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        Counts(25_250, 101, 250, 250),
        "food-101/ with images/<class>/*.jpg and meta/test.txt, meta/classes.txt, meta/labels.txt",
        (
            Archive(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                "85eeb15f3717b99a5da872d97d918f87",
            ),
        ),
    ),
}

# Section 6.2: the classes of (a) are some of ImageNet 2012's, of (b) some are, of (c) none.
_OVERLAP = {
    "a": ("imagenet", "stanforddogs", "catsdogs", "caltech101", "caltech256"),
    "b": ("cub200", "flowers102", "food101"),
    "c": ("wood", "mit67", "textures"),
}


def overlap(name: str) -> str | None:
    """Return the paper's group of a data set by its overlap with ImageNet 2012; None for others.

    >>> overlap("food101"), overlap("my own")
    ('b', None)
    """
    return next((group for group, members in _OVERLAP.items() if name in members), None)


def count(class_names: Sequence[str | None]) -> Counts:
    """Return the counts of a data set, from the class of each image.

    >>> str(count(["cat", "dog", "dog"]))
    '3 images in 2 classes of 1–2'
    """
    sizes = Counter(class_names).values()
    return Counts(len(class_names), len(sizes), min(sizes, default=0), max(sizes, default=0))


def how_to_fetch(layout: str) -> str:
    """Return the command that fetches a data set, or where to ask for it."""
    data_set = OFFICIAL[layout]
    command = f"python -m fnx dataset={layout} dataset.download=true"
    if data_set.public:
        return f"fetch it with: {command}"
    files = " and ".join(archive.name for archive in data_set.archives)
    return (
        f"its authors ask for an account at {data_set.page}: put {files} into dataset.root, "
        f"then unpack them with: {command}"
    )


def differences(
    config: DatasetConfig, class_names: Sequence[str], absent: int = 0
) -> tuple[str, ...]:
    """Return where the readable images differ from Table 2, in one line with both numbers.

    A second line follows where `absent` images, which its lists name, are not there. Empty for
    other data sets, and with `limit_per_class`, which takes fewer on purpose.
    """
    data_set = OFFICIAL.get(config.layout)
    if data_set is None or config.limit_per_class is not None:
        return ()
    found = count(class_names)
    if found == data_set.published:
        return ()
    reason = f" ({data_set.note})" if data_set.note else ""
    lines = [f"{config.name}: {found}; Table 2 of the paper has {data_set.published}{reason}"]
    if absent:
        lines.append(
            f"{config.name}: {absent:,} images that its lists name are not in {config.root}; "
            f"{how_to_fetch(config.layout)}"
        )
    return tuple(lines)
