"""One run holds a lock; others wait, say for whom, and go on."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock

from fnx.errors import DataError
from fnx.utils import lock
from fnx.utils.lock import exclusive_lock, is_in_use, sole_use


def test_the_holder_leaves_a_note_and_takes_it_away(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "there"
    note = path.parent / ".there.holder.json"
    with exclusive_lock(path, "extracts", lambda: ""):
        told = json.loads(note.read_text())
        assert (told["pid"], told["host"]) == (os.getpid(), socket.gethostname())
        since = datetime.fromisoformat(told["since"])
        assert since.tzinfo is not None
        assert since.microsecond == 0
    assert not note.exists()
    with exclusive_lock(path, "extracts", lambda: ""):  # free again
        pass


def test_the_lock_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive_lock(tmp_path / "a", "extracts", lambda: ""):
        raise ZeroDivisionError
    assert not (tmp_path / ".a.holder.json").exists()
    with exclusive_lock(tmp_path / "a", "extracts", lambda: ""):
        pass


@pytest.fixture
def waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[..., list[str]]:
    """What is logged while another run holds a lock and is so far at each attempt."""

    def wait(note: str, progress: list[str], clock: list[float]) -> list[str]:
        held = FileLock(tmp_path / ".a.lock")
        held.acquire()
        (tmp_path / ".a.holder.json").write_text(note)
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == len(progress):
                held.release()

        monkeypatch.setattr(lock.time, "sleep", nap)
        monkeypatch.setattr(lock.time, "monotonic", lambda: clock[len(naps)])
        with (
            caplog.at_level(logging.INFO),
            exclusive_lock(tmp_path / "a", "extracts x", lambda: progress[len(naps)]),
        ):
            assert naps == [0.5] * len(progress)
        return caplog.messages

    return wait


def test_who_waits_says_for_whom_and_how_far_that_is(waiting: Callable[..., list[str]]) -> None:
    note = json.dumps({"pid": 7, "host": "here", "since": "noon"})
    for_whom = "waiting for process 7 on here (since noon), which extracts x"
    assert waiting(note, ["1 of 9", "1 of 9", "2 of 9"], [100.0, 101.0, 102.0]) == [
        f"{for_whom}: 1 of 9",
        f"{for_whom}: 2 of 9",
        "the wait is over: no other run extracts x any more",
    ]


@pytest.mark.parametrize(("seconds", "lines"), [(30.0, 1), (30.5, 2)])
def test_and_says_it_again_after_half_a_minute(
    waiting: Callable[..., list[str]], seconds: float, lines: int
) -> None:
    found = waiting("{}", ["1 of 9", "1 of 9"], [100.0, 100.0 + seconds])
    assert found[:-1] == ["waiting for another run, which extracts x: 1 of 9"] * lines


def test_a_runs_folder_is_its_own_until_it_ends(tmp_path: Path) -> None:
    assert not is_in_use(tmp_path / "nowhere")
    with sole_use(tmp_path):
        assert is_in_use(tmp_path)
        with pytest.raises(DataError, match=r"another run is writing there"), sole_use(tmp_path):
            pytest.fail("both hold it")
        assert is_in_use(tmp_path)
    with pytest.raises(ZeroDivisionError), sole_use(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".lock").touch()  # of a run that was killed
    assert not is_in_use(tmp_path)


def test_where_there_are_no_locks_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(errno.ENOLCK, ""), OSError(errno.EOPNOTSUPP, ""), OSError(errno.EACCES, "")]

    def acquire(_: FileLock) -> None:
        raise failures.pop(0)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    went_on = []
    for _ in range(2):
        with sole_use(tmp_path):
            went_on.append(True)
    assert went_on == [True, True]
    with pytest.raises(OSError, match=rf"Errno {errno.EACCES}"), sole_use(tmp_path):
        pytest.fail("the folder cannot be written")
