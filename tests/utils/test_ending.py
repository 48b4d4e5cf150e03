"""A process that was told to end does end, whatever it waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from fnx.utils.ending import answer, answered, ended_when_told, leave_to_main

SIGNALS = [
    (signal.SIGINT, "interrupted"),
    (signal.SIGTERM, "terminated"),
    (signal.SIGHUP, "hung up"),
    (signal.SIGQUIT, "quit"),
]
# The main thread does not listen, as one that waits for a disk.
DEAF = """
while True:
    try: time.sleep(60)
    except KeyboardInterrupt: print('heard', flush=True)
"""
# The main thread listens, and a thread that Python waits for does not.
BLOCKED = """
threading.Thread(target=time.sleep, args=[60]).start()
try:
    print('ready', flush=True)
    time.sleep(60)
except KeyboardInterrupt: print('heard', flush=True)
"""
# A process of its own must not live on, and its signals are not its parent's.
WITH_CHILDREN = (
    """
def child():
    there.set()
    time.sleep(60)
fork = multiprocessing.get_context('fork')
there = fork.Event()
first, second = fork.Process(target=child), fork.Process(target=child)
first.start()
there.wait()
os.kill(first.pid, signal.SIGINT)
first.join()
time.sleep(1)
second.start()
print('started', flush=True)
"""
    + DEAF
)


def started(code: str) -> subprocess.Popen[str]:
    head = (
        "import multiprocessing, os, signal, sys, threading, time\n"
        "from fnx.utils.ending import ended_when_told\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "with ended_when_told(lambda n: print('farewell', n, flush=True), 0.5):\n"
        "    print('ready', flush=True)\n"
    )
    body = "".join(f"    {line}\n" for line in code.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", head + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "code", [DEAF, BLOCKED, WITH_CHILDREN], ids=["deaf", "blocked", "children"]
)
def test_what_does_not_end_by_itself_is_ended(code: str, number: signal.Signals) -> None:
    process = started(code)
    assert process.stdout is not None
    if code is not DEAF:
        process.stdout.readline()
    time.sleep(0.2)  # into its sleep
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)  # a child that lives on would keep the pipe open
    assert process.returncode == 128 + number
    assert said.splitlines() == ["heard", f"farewell {number.value}"]


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "signal.signal(signal.SIGUSR1, lambda *_: None)\nos.kill(os.getpid(), signal.SIGUSR1)\n"
        "time.sleep(1)",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nos.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(1)",
    ],
    ids=["none", "another signal", "ignored"],
)
def test_what_was_not_told_to_end_goes_on(code: str) -> None:
    process = started(code)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said == ""


def test_what_ends_in_time_is_left_alone() -> None:
    process = started("time.sleep(60)")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == (-signal.SIGINT, ""), "as Python ends by KeyboardInterrupt"


def test_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)  # of warnings while they are errors
    before = set(threading.enumerate())
    with ended_when_told(lambda _: None):
        (watching,) = set(threading.enumerate()) - before
    watching.join(10)
    assert not watching.is_alive()
    assert [str(one.exc_value) for one in left] == []


@pytest.mark.parametrize(("number", "word"), SIGNALS)
def test_while_a_command_starts_it_ends_at_once_with_one_line(number: int, word: str) -> None:
    """Wherever it is: a module that is imported may take any error for its own."""
    code = (
        "import os, sys, types\n"
        "from importlib.machinery import ModuleSpec\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'fnx.cli':\n"
        "            try: os.kill(os.getpid(), int(sys.argv[1]))\n"
        "            except BaseException: print('swallowed')\n"
        "sys.meta_path.insert(0, Finder)\n"
        "import fnx.__main__\n"
        "print('went on')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(number.value)],  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == f"fnx: {word}\n"


def test_ignored_signals_stay_ignored_and_others_get_their_answer_back() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with answered(lambda number, _: heard.append(number)):
            for number in (signal.SIGHUP, signal.SIGQUIT):
                signal.raise_signal(number)
        assert heard == [signal.SIGQUIT]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
        thread = threading.Thread(target=lambda: heard.append(len(answer(signal.SIG_DFL))))
        thread.start()
        thread.join()
        assert heard[1:] == [0]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_of_a_run_s_own_leaves_it_to_the_main_one_to_tell_of_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    leave_to_main()
    ignored = dict.fromkeys([signal.SIGINT, signal.SIGQUIT, signal.SIGHUP], signal.SIG_IGN)
    ends = handlers.pop(signal.SIGTERM)
    assert handlers == ignored
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    ends(signal.SIGTERM, None)
    assert codes == [0]
    sys.excepthook(ValueError, ValueError("x"), None)
    assert capsys.readouterr().err == ""
