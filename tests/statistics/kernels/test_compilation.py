"""Machine code is kept where that goes; where it does not, the numbers are the same."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba import types
from numba.core.caching import IndexDataCacheFile

from fnx.statistics.kernels import compilation

SOURCE = """
from numba import types
from fnx.statistics.kernels.compilation import cached_njit

@cached_njit(nogil=True, error_model="numpy")
def twice(x):
    return 2 * x / 0 if x < 0 else 2 * x

@cached_njit([types.int64(types.int64), types.float64(types.float64)])
def thrice(x):
    return 3 * x
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[], Any]:
    """Import the same file again, as another process does."""
    file = tmp_path / "kernels.py"
    file.write_text(SOURCE)

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("kernels", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.twice(4) == 8
        assert module.twice(-1.0) == float("-inf")
        assert (module.thrice(4), module.thrice(0.5)) == (12, 1.5)
        return module

    return load


def hits(module: Any) -> tuple[int, int]:
    return tuple(sum(f.stats.cache_hits.values()) for f in (module.twice, module.thrice))  # type: ignore[return-value]


def test_machine_code_is_kept(load: Callable[[], Any]) -> None:
    module = load()
    assert hits(module) == (0, 0)
    assert module.thrice.nopython_signatures == [
        types.int64(types.int64),
        types.float64(types.float64),
    ]
    with pytest.raises(TypeError, match="No matching definition"):
        module.thrice(1j)
    assert hits(load()) == (2, 2)


def test_machine_code_counts_while_no_file_of_the_kernels_changes(
    load: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "called.py").write_text("factor = 2")
    monkeypatch.setattr(compilation, "__file__", str(folder / "compilation.py"))
    found = []
    for change in ("", "", "factor = 3", ""):
        compilation._sources.cache_clear()
        if change:
            (folder / "called.py").write_text(change)
        found.append(hits(load()))
    compilation._sources.cache_clear()
    assert found == [(0, 0), (2, 2), (0, 0), (2, 2)]


@pytest.mark.parametrize("damage", ["cut off", "empty", "zeros"])
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_what_is_damaged_is_made_again(
    load: Callable[[], Any], tmp_path: Path, ending: str, damage: str
) -> None:
    load()
    files = list(tmp_path.rglob(f"*.{ending}"))
    assert len(files) == (2 if ending == "nbi" else 4)
    for file in files:
        content = file.read_bytes()
        half = {"cut off": content[: len(content) // 2], "empty": b"", "zeros": bytes(len(content))}
        file.write_bytes(half[damage])
    assert hits(load()) == (0, 0)
    assert hits(load()) == (2, 2)


def test_where_no_folder_can_be_written_nothing_is_kept(
    load: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__pycache__").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "__pycache__"))
    for _ in range(2):
        assert hits(load()) == (0, 0)


@pytest.mark.parametrize("part", ["_save_index", "_save_data"])
def test_a_full_disk_fails_nothing(
    load: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, part, fail)
    for _ in range(2):
        assert hits(load()) == (0, 0)
