"""The version of fnx."""

from __future__ import annotations

from importlib import metadata


def fnx_version() -> str:
    """Return the version of the installed package; "0+unknown" in a tree that is not installed."""
    try:
        return metadata.version("fnx-features")
    except metadata.PackageNotFoundError:
        return "0+unknown"
