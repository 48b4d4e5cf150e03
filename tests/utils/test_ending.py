"""A process that was told to end does end, whatever it waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

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
