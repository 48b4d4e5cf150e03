"""What a file is that is no raster image, told by its first bytes, and what makes one of it."""

from __future__ import annotations

import re

HEAD = 1024  # bytes that are looked at

_CONVERT = "convert it to PNG or TIFF first, for example with"
RAW = f"a camera's RAW file: {_CONVERT} the package rawpy"
# By what the file begins with; see `re`.
_BEGINNINGS = {
    # ISO base media files, by their major brand.
    rb".{4}ftyp(hei|hev|mif1|msf1)": ("a HEIC image", "the package pillow-heif"),
    rb".{4}ftypavi": ("an AVIF image that this Pillow does not read", "pip install -U pillow"),
    rb".{4}ftypcrx": ("a camera's RAW file", "the package rawpy"),
    rb".{4}ftyp": ("a video", "the package av"),
    rb"\xff\x0a|\0\0\0\x0cJXL ": ("a JPEG XL image", "the package pillow-jxl-plugin"),
    rb".{128}DICM": ("a DICOM file", "the package pydicom"),
    rb".{0,1000}%PDF-": ("a PDF file", "the package pypdfium2"),
    rb"RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]|FLV|OggS|G.{187}G|0&\xb2u": (
        "a video",
        "the package av",
    ),
    rb"(II\*\0|MM\0\*)....CR|IIR[OS]|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM": (
        "a camera's RAW file",
        "the package rawpy",
    ),
    rb"%!|\xc5\xd0\xd3\xc6": ("PostScript, which is a program and not run", "Inkscape"),
    rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF": ("a Windows metafile", "Inkscape"),
    rb"v/1\x01": ("an OpenEXR image", "the package OpenEXR"),
    rb"#\?RADIANCE|#\?RGBE": ("a Radiance HDR image", "the package imageio"),
    rb".{344}n[+i]1\0": ("a NIfTI volume", "the package nibabel"),
    rb"\x89HDF": ("an HDF5 file", "the package h5py"),
    rb"\x93NUMPY": ("a NumPy array", "Image.fromarray of Pillow"),
}


def describe(head: bytes) -> str:
    r"""Return what a file is that is not opened, by its first `HEAD` bytes, in one line.

    >>> describe(b"\0\0\0\x18ftypheic")
    'a HEIC image: convert it to PNG or TIFF first, for example with the package pillow-heif'
    """
    for beginning, (kind, tool) in _BEGINNINGS.items():
        if re.match(beginning, head, re.DOTALL):
            return f"{kind}: {_CONVERT} {tool}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<svg" in text:
        return f"an SVG drawing: {_CONVERT} the package cairosvg"
    if text.startswith(b"<") and b"<html" in text:
        return "not an image but an HTML page, as a failed download leaves it"
    if text.startswith(b"version https://git-lfs"):
        return "not an image but a pointer of Git LFS: `git lfs pull` fetches the image"
    return "not an image, or of a format that Pillow does not know"
