"""What is printed: in any encoding, to any reader, without secrets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENCODINGS = ["cp1252", "latin-1", "ascii", "utf-8"]
PRINT = """
import sys
from fnx.utils.streams import flush_output, prepare_streams
prepare_streams()
prepare_streams()
for stream in (sys.stdout, sys.stderr):
    stream.write("{text}" * {times})
flush_output()
"""


def printed(
    text: str, shell: str = "{}", *, times: str = "1", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run Python in a shell, in which {} is the program that prints the text."""
    code = PRINT.format(text=text.encode("unicode_escape").decode(), times=times)
    return subprocess.run(
        ["bash", "-c", shell.format('"$0" -c "$1"'), sys.executable, code],
        env=os.environ | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_an_encoding_does_not_have_is_replaced(encoding: str) -> None:
    done = printed("é照片−\udcff\n", PYTHONIOENCODING=encoding)
    shown = "é照片−\udcff\n".encode(encoding, "replace")
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, shown)


@pytest.mark.parametrize("stream", [1, 2])
def test_a_closed_stream_is_as_no_reader(stream: int) -> None:
    done = printed("é\n", f"{{}} {stream}>&-")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr)[stream - 1] == b""
    assert (done.stdout, done.stderr)[2 - stream] == "é\n".encode()


def test_a_file_does_not_take_the_number_of_a_closed_stream() -> None:
    code = "import os\nfrom fnx.utils.streams import prepare_streams\nprepare_streams()\n"
    code += "os._exit(os.open('/dev/null', 0))"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        shell = ["bash", "-c", f'"$0" -c "$1" {closed}', sys.executable, code]
        assert subprocess.run(shell, check=False, timeout=60).returncode == 3, closed


@pytest.mark.parametrize("pipe", ["| true", "2>&1 | true", "| head -c 1", "2>&1 | head -c 1"])
@pytest.mark.parametrize("times", ["1", "200_000"])  # more than a pipe holds
def test_a_reader_that_leaves_ends_nothing(pipe: str, times: str) -> None:
    started = f"(sleep 0.1; {{}}) {pipe}; exit ${{{{PIPESTATUS[0]}}}}"
    done = printed("x", started, times=times)
    assert done.returncode == 0
    assert done.stderr in (b"", b"x" * int(times))


def test_a_full_disk_is_said_once() -> None:
    done = printed("x", "{} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith(b"No space left on device\n")
    assert b"ignored" not in done.stderr
    assert printed("x", "{} 2> /dev/full").returncode == 0


def test_secrets_are_hidden() -> None:
    done = printed("say hidden-value!\n", MY_TOKEN="hidden-value")
    assert done.stdout == done.stderr == b"say [secret]!\n"


def test_the_streams_of_tests_and_notebooks_are_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fnx.utils.streams import prepare_streams

    stream = sys.stdout
    prepare_streams()
    assert sys.stdout is stream
    assert capsys.readouterr().out == ""
