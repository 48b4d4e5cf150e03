"""Downloads: taken up again where they were cut off, and refused where they are another file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fnx import __version__
from fnx.errors import DataError
from fnx.utils import download as module
from fnx.utils.download import answers, download

CONTENT = bytes(range(256)) * 8_000  # 2 MB


class Server:
    """A real server of one file, which can cut connections and does as it is told with ranges."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # whether it answers with parts of the file
        self.cut_after: list[int] = []  # bytes after which the next connections break
        self.answers: list[int] = []  # the next answers, if they are not the file
        self.length = True  # whether it says how long the file is
        self.slow = 0.0  # seconds before it answers
        self.asked: list[str | None] = []
        self.agents: set[str] = set()
        self.waits: list[float] = []  # seconds between the tries
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                threading.Event().wait(owner.slow)
                self.send_error(owner.answers.pop(0))

            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                owner.asked.append(wanted)
                owner.agents.add(self.headers["User-Agent"])
                threading.Event().wait(owner.slow)
                if owner.answers:
                    self.send_error(owner.answers.pop(0))
                    return
                start = int(wanted[6:-1]) if wanted and owner.ranges else 0
                total = len(owner.content)
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                if owner.length:
                    self.send_header("Content-Length", str(total - start))
                self.end_headers()
                end = start + owner.cut_after.pop(0) if owner.cut_after else total
                self.wfile.write(owner.content[start:end])

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/archive.tar"
        Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(module.time, "sleep", server.waits.append)
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_file_is_fetched_once_into_its_place(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new/folder/archive.tar"
    digest = hashlib.sha256(CONTENT).hexdigest().upper()
    md5 = hashlib.md5(CONTENT).hexdigest()
    for _ in range(2):
        assert download(server.url, target, sha256=digest, md5=md5, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    assert server.asked == [None]
    assert server.agents == {f"fnx/{__version__}"}
    assert list(target.parent.iterdir()) == [target]


def test_of_two_that_want_a_file_one_fetches_it(server: Server, tmp_path: Path) -> None:
    server.slow = 0.2
    with ThreadPoolExecutor(2) as pool:
        for target in pool.map(download, [server.url] * 2, [tmp_path / "a"] * 2):
            assert target.read_bytes() == CONTENT
    assert server.asked == [None]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_broken_connection_is_taken_up_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = [700_000, 100_000]
    target = download(server.url, tmp_path / "a", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=700000-", "bytes=800000-"]


def test_a_later_call_goes_on_with_what_is_kept(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_000] * 4
    with pytest.raises(DataError) as caught:
        download(server.url, tmp_path / "a")
    assert str(caught.value) == (
        f"{server.url} cannot be fetched: the connection ended 2,044,000 bytes early; "
        "4,000 bytes are kept and not fetched again"
    )
    assert server.waits == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.part"]
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=4000-"


@pytest.mark.parametrize(
    ("answers", "message", "tries"),
    [
        ([404], "the server answers 404 Not Found", 1),
        ([499], "the server answers 499 ???", 1),
        ([500, 503, 502, 500], "the server answers 500 Internal Server Error", 4),
        ([416], "the server answers 416 Requested Range Not Satisfiable", 1),
    ],
)
def test_a_server_that_refuses_is_quoted_and_one_in_trouble_is_asked_again(
    server: Server, tmp_path: Path, answers: list[int], message: str, tries: int
) -> None:
    server.answers = list(answers)
    with pytest.raises(DataError) as caught:
        download(server.url, tmp_path / "a")
    assert str(caught.value) == f"{server.url} cannot be fetched: {message}"
    assert len(server.asked) == tries
    assert list(tmp_path.iterdir()) == []
    server.answers = [500] * 3
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT


def test_a_refusal_keeps_what_was_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:1_000])
    server.answers = [403]
    with pytest.raises(DataError, match="403 Forbidden; 1,000 bytes are kept"):
        download(server.url, tmp_path / "a")
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"] * 2


def test_a_file_of_unknown_length_ends_with_its_connection(server: Server, tmp_path: Path) -> None:
    server.length = False
    assert download(server.url, tmp_path / "a", size=len(CONTENT)).read_bytes() == CONTENT


def test_what_has_the_expected_size_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "a", size=len(CONTENT)).read_bytes() == CONTENT
    assert server.asked == []


def test_a_bar_counts_megabytes_from_what_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = bytes(5 << 20)
    (tmp_path / "a.part").write_bytes(bytes(2 << 20))
    bars = []
    bar = module.progress_bar
    monkeypatch.setattr(
        module,
        "progress_bar",
        lambda *args, **options: (bars.append(bar(*args, **options)), bars[-1])[1],
    )
    download(server.url, tmp_path / "a")
    assert (bars[0].initial, bars[0].n, bars[0].total, bars[0].unit) == (2, 5, 5, " MB")
    assert bars[0].desc == "fetching archive.tar"


@pytest.mark.parametrize("kept", [CONTENT[:1_000], CONTENT, CONTENT + b"more"])
@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_kept_may_be_whole_or_too_much_and_the_server_may_know_no_ranges(
    server: Server, tmp_path: Path, kept: bytes, ranges: bool
) -> None:
    server.ranges = ranges
    (tmp_path / "a.part").write_bytes(kept)
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"sha256": "AB"}, f"its sha256 is {hashlib.sha256(CONTENT).hexdigest()} where ab is exp"),
        ({"md5": "ab"}, f"its md5 is {hashlib.md5(CONTENT).hexdigest()} where ab is expected"),
        ({"size": 5, "md5": "ab"}, "2,048,000 bytes where 5 are expected"),
    ],
)
def test_another_file_than_expected_is_refused_and_not_kept(
    server: Server, tmp_path: Path, expected: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=f"another file than expected: .*{said}") as caught:
        download(server.url, tmp_path / "a", **expected)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_do_not_answer_are_said_in_one_line(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match=r"cannot be fetched: .*refused$"):
        download(server.url, tmp_path / "a")
    assert server.waits == [1, 2, 3]
    with pytest.raises(DataError, match="begin with http"):
        download("file:///etc/passwd", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"http://h/a cannot be fetched to .*: (Not a dir|File ex)"):
        download("http://h/a", tmp_path / "file/a")


def test_an_error_is_an_answer_and_silence_is_none(server: Server) -> None:
    server.answers = [404, 500]
    assert answers(server.url)
    server.slow = 0.5
    assert not answers(server.url, seconds=0.05)
    server.http.shutdown()
    server.http.server_close()
    assert not answers(server.url)
    assert not answers("https://no.such.name.example/")
