"""Images without labels: a folder of any shape, files, or images in memory, each a row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fnx.errors import DataError, reason
from fnx.images.dataset import Listing, Stamp, Stream
from fnx.images.decode import UnreadableImageError, turn_upright
from fnx.images.layouts.walk import walk
from fnx.images.paths import Files, natural_key, shown, to_text
from fnx.utils.files import expand_user


@dataclass(frozen=True)
class Given(Files):
    """Source of files and of images in memory; each counts, also two links to one file.

    Attributes:
        held: the encoded images in memory by name, or why one of them cannot be used.
    """

    held: Mapping[str, bytes | str] = field(default_factory=dict)

    def stream(self, path: str) -> Stream:
        """Open the file, or the image in memory.

        Raises:
            UnreadableImageError: an image in memory that cannot be used.
        """
        found = self.held.get(path)
        if isinstance(found, str):
            raise UnreadableImageError(found)
        return super().stream(path) if found is None else io.BytesIO(found)

    def identity(self, path: str) -> None:
        """Return None: no image is left out because another one is the same file."""

    def stamp(self, path: str) -> Stamp | None:  # type: ignore[override]
        """Return what changes when the file does; None for an image in memory."""
        return None if path in self.held else super().stamp(path)


def list_unlabelled(images: Any) -> tuple[Listing, list[str]]:
    """List images of which nothing is known but where they are; no file is opened.

    Args:
        images: a folder, of which all files count, however deep; a file; an image of PIL; an array
            uint8 (H, W), (H, W, 3) or (H, W, 4), or (N, H, W, 3 or 4) of N images; or any number
            of these, one after the other.

    Returns:
        The listing, each path once; and the path of each image, in order: in a folder relative to
        it, else as it was given. Images in memory are called ``images[0]``, ``images[1]``, ….

    Raises:
        DataError: no such file or folder, a folder without files, or what is no image.
    """
    root, paths, held = "", list[str](), dict[str, bytes | str]()
    if isinstance(images, str | Path) and _path(images).is_dir():
        root = str(_path(images).absolute())
        paths = _below(Path(root))
    else:
        for place, item in enumerate(_each(images)):
            if isinstance(item, str | Path):
                paths += _files(_path(item))
            else:
                name = f"images[{place}]"
                held[name] = _encoded(item, name)
                paths.append(name)
    if not paths:
        raise DataError("no images are given")
    unique = list(dict.fromkeys(paths))
    listing = Listing(
        paths=unique,
        class_names=[None] * len(unique),
        splits=[None] * len(unique),
        open=Given(root, held),
        root=Path(root) if root else None,
    )
    return listing, paths


def _path(given: str | Path) -> Path:
    return Path(expand_user(str(given)))


def _each(images: Any) -> Iterator[Any]:
    """Yield the images one by one.

    Raises:
        DataError: neither an image nor a number of them.
    """
    if isinstance(images, str | Path | Image.Image):
        yield images
    elif isinstance(images, np.ndarray) and images.dtype != object:
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        yield from images
    else:
        raise DataError(
            f"images are {type(images).__name__}: must be a folder, files, images of PIL, arrays "
            "of uint8, or a list of these"
        )


def _files(path: Path) -> list[str]:
    if path.is_dir():
        return [to_text(str(path / "_"))[:-1] + name for name in _below(path)]
    if not path.exists() and not path.is_symlink():
        raise DataError(f"no file or folder {shown(path)}")
    return [to_text(str(path))]


def _below(root: Path) -> list[str]:
    found = sorted(map(to_text, walk(root).files), key=natural_key)
    if not found:
        raise DataError(f"no images in {shown(root)}: it holds no files")
    return found


def _encoded(image: Any, name: str) -> bytes | str:
    """Return an image in memory as a file without loss, or why it cannot be used.

    Raises:
        DataError: an object that is no image.
    """
    if isinstance(image, np.ndarray):
        image = _from_array(image, name)
    if not isinstance(image, Image.Image):
        raise DataError(
            f"{name} is {type(image).__name__}: must be a path, an image of PIL or an array of "
            "uint8"
        )
    buffer = io.BytesIO()
    try:
        upright = image.copy()
        turn_upright(upright)  # PNG has no orientation that all readers know of
        of_png = upright.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
        if of_png:
            upright.save(buffer, "PNG", compress_level=1)
        else:
            upright.save(buffer, "TIFF")
    except Exception as error:  # whatever Pillow raises on a damaged or unusual image
        return reason(error)
    return buffer.getvalue()


def _from_array(array: Any, name: str) -> Image.Image:
    colours = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 2 or colours) or 0 in array.shape:
        raise DataError(
            f"{name} is an array of {array.dtype}, {array.shape}: must be uint8 (H, W), (H, W, 3) "
            "or (H, W, 4)"
        )
    return Image.fromarray(np.ascontiguousarray(array))
