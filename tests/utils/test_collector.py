"""The garbage collector rests while packages are imported, and wakes as it was."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fnx.utils import collector
from fnx.utils.collector import uncollected


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_it_rests_and_is_what_it_was() -> None:
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("settled", [False, True])
def test_only_a_process_of_fnx_keeps_objects_for_ever(
    settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "_settled", settled)
    with uncollected():
        pass
    assert (gc.get_freeze_count() > 0) is settled


@pytest.mark.parametrize(
    ("module", "settled"), [("fnx.__main__", True), ("fnx.cli, fnx.app, fnx.show", False)]
)
def test_that_is_the_program_s_and_nobody_s_who_imports_fnx(module: str, settled: bool) -> None:
    code = f"import {module}\nfrom fnx.utils import collector\nprint(collector._settled)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == f"{settled}\n"
