from __future__ import annotations

from importlib import metadata

import pytest

import fnx
from fnx.utils.version import fnx_version


def test_the_version_is_that_of_the_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"fnx-features": "1.2.3"}.__getitem__)
    assert fnx_version() == fnx.__version__ == "1.2.3"


def test_a_tree_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert fnx_version() == "0+unknown"
