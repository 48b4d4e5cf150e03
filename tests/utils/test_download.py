"""Downloads: taken up again where they were cut off, and refused where they are another file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer
from threading import Thread

import pytest

from fnx import __version__
from fnx.errors import DataError
from fnx.utils import download as module
from fnx.utils.download import answers, download

CONTENT = bytes(range(256)) * 8_000  # 2 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A real server of one file, which can cut connections and does as it is told with ranges."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # whether it answers with parts of the file
        self.cut_after: list[int] = []  # bytes after which the next connections break
        self.answers: list[int] = []  # the next answers, if they are not the file
        self.length = True  # whether it says how long the file is
        self.slow = 0.0  # seconds before it answers
        self.headers: dict[str, str] = {}  # sent with the file
        self.knows_if_range = True
        self.redirect: str | None = None
        self.conditions: list[str | None] = []  # the If-Range of each request
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
                if owner.redirect is not None:
                    self.send_response(302)
                    self.send_header("Location", owner.redirect)
                    self.end_headers()
                    return
                condition = self.headers.get("If-Range")
                owner.conditions.append(condition)
                same = condition is None or condition in owner.headers.values()
                ranges = owner.ranges and (same or not owner.knows_if_range)
                start = int(wanted[6:-1]) if wanted and ranges else 0
                total = len(owner.content)
                if start and start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                for name, value in owner.headers.items():
                    self.send_header(name, value)
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
    md5 = hashlib.md5(CONTENT).hexdigest()
    for _ in range(2):
        assert download(server.url, target, sha256=SHA256.upper(), md5=md5) == target
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


@pytest.mark.parametrize(
    ("headers", "identity"),
    [
        ({"ETag": '"a b"'}, '"a b"'),
        ({"Last-Modified": "Sat, 02 Jan 2021"}, "Sat, 02 Jan 2021"),
        ({"ETag": 'W/"weak"', "Last-Modified": "Sat, 02 Jan 2021"}, "Sat, 02 Jan 2021"),
    ],
)
def test_a_later_call_goes_on_with_what_is_kept_of_the_same_file(
    server: Server, tmp_path: Path, headers: dict[str, str], identity: str
) -> None:
    server.headers = headers
    server.cut_after = [1_000] * 4
    with pytest.raises(DataError) as caught:
        download(server.url, tmp_path / "a")
    assert str(caught.value) == (
        f"{server.url} cannot be fetched: the connection ended 2,044,000 bytes early; "
        "4,000 bytes are kept and not fetched again"
    )
    assert server.waits == [1, 2, 3]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.part", tmp_path / "a.part.id"]
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=4000-"
    assert server.conditions == [None, *[identity] * 4]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("knows_if_range", [True, False])
@pytest.mark.parametrize("length", [3_000_000, 4_000])
def test_a_part_of_another_file_is_not_gone_on_with(
    server: Server, tmp_path: Path, knows_if_range: bool, length: int
) -> None:
    server.knows_if_range = knows_if_range
    server.headers = {"ETag": '"first"'}
    server.cut_after = [1_000] * 4
    with pytest.raises(DataError, match="4,000 bytes are kept"):
        download(server.url, tmp_path / "a")
    server.content = bytes(length)  # another file, of more bytes, or of those that are kept
    server.headers = {"ETag": '"second"'}
    assert download(server.url, tmp_path / "a").read_bytes() == bytes(length)


def test_what_cannot_be_recognised_is_not_kept(server: Server, tmp_path: Path) -> None:
    """Without a checksum, an ETag or a date nobody could tell what it is a part of."""
    server.cut_after = [1_000] * 4
    with pytest.raises(DataError, match=r"2,044,000 bytes early$"):
        download(server.url, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.part").write_bytes(b"of another version")
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked[-1] is None


def test_a_checksum_tells_what_an_unknown_part_is_of(server: Server, tmp_path: Path) -> None:
    server.headers = {"ETag": '"a"'}
    for kept, ask_again in ((CONTENT[:1_000], 0), (b"x" * 1_000, 1)):
        (tmp_path / "a").unlink(missing_ok=True)
        (tmp_path / "a.part").write_bytes(kept)
        if ask_again:
            with pytest.raises(DataError, match="is another file than expected: its sha256 is"):
                download(server.url, tmp_path / "a", sha256=SHA256)
        assert download(server.url, tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", "bytes=1000-", None]


@pytest.mark.parametrize(
    ("answers", "message", "tries"),
    [
        ([404], "the server answers 404 Not Found", 1),
        ([499], "the server answers 499 ???", 1),
        ([500, 503, 502, 500], "the server answers 500 Internal Server Error", 4),
        # Whose phrase is another since Python 3.13.
        ([416], f"the server answers 416 {HTTPStatus(416).phrase}", 1),
        ([429, 408, 429, 429], "the server answers 429 Too Many Requests", 4),
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
        download(server.url, tmp_path / "a", sha256=SHA256)
    assert download(server.url, tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"] * 2


def test_a_file_of_unknown_length_ends_with_its_connection(server: Server, tmp_path: Path) -> None:
    server.length = False
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False])
def test_an_answer_may_not_be_of_any_length(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: bool
) -> None:
    server.length = length
    monkeypatch.setattr(module, "_MOST", len(CONTENT))
    assert download(server.url, tmp_path / "fits").read_bytes() == CONTENT
    monkeypatch.setattr(module, "_MOST", len(CONTENT) - 1)
    with pytest.raises(DataError, match=r"archive.tar is refused: it is longer than 2,047,999 byt"):
        download(server.url, tmp_path / "a")
    assert list(tmp_path.iterdir()) == [tmp_path / "fits"]


@pytest.mark.parametrize("length", ["-1", "many", "", "1e9"])
def test_a_length_that_is_no_number_is_none(server: Server, tmp_path: Path, length: str) -> None:
    server.length, server.headers = False, {"Content-Length": length}
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "it is a web page, as servers send for a file"),
        (b"<HTML><body>", "it is a web page"),
        (b"<head>", "it is a web page"),
    ],
)
def test_what_servers_send_instead_of_a_file_is_refused(
    server: Server, tmp_path: Path, content: bytes, said: str
) -> None:
    server.content = content
    server.headers = {"ETag": '"a"'}
    with pytest.raises(DataError, match=f"is another file than expected: {said}"):
        download(server.url, tmp_path / "a", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/archive.tar", "the server answers 302 .*infinite loop"),
        ("file:///etc/passwd", "the server answers 302 .*not allowed"),
        ("http://[::", "Invalid IPv6 URL"),
    ],
)
def test_an_address_that_leads_nowhere(
    server: Server, tmp_path: Path, target: str, said: str
) -> None:
    server.redirect = target
    with pytest.raises(DataError, match=f"cannot be fetched.*{said}") as caught:
        download(server.url, tmp_path / "a")
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_tls_is_not_left_without_a_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_url = module.urllib.request.urlopen
    monkeypatch.setattr(
        module.urllib.request, "urlopen", lambda *_, **__: open_url(server.url)
    )  # as if the https address had led there
    with pytest.raises(DataError, match=r"^https://h/a is refused: it leads to an address without"):
        download("https://h/a", tmp_path / "a")
    assert download("https://h/a", tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x1b[31mHTTP\n\n", r"BadStatusLine: \?\[31mHTTP"),
        (b"HTTP/1.1 404 \x1b]0;title\x07gone\r\n\r\n", r"the server answers 404 \?]0;title\?gone"),
        (b"", "Remote end closed connection without response"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            "the connection ended (3 bytes )?early",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "the connection ended early",
        ),
    ],
)
def test_answers_that_are_no_http_are_said_in_one_printable_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, said: str
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)

    class Raw(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(raw)

    with TCPServer(("127.0.0.1", 0), Raw) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match=f"cannot be fetched: {said}") as caught:
            download(f"http://127.0.0.1:{server.server_address[1]}/a", tmp_path / "a")
        server.shutdown()
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://[bad/a", "http://h/ü", "http://h:port/a", "http:///a"])
def test_addresses_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with pytest.raises(DataError, match="cannot be fetched") as caught:
        download(url, tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert not answers(url)


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
    sha256 = hashlib.sha256(server.content).hexdigest()
    download(server.url, tmp_path / "a", sha256=sha256)
    assert (bars[0].initial, bars[0].n, bars[0].total, bars[0].unit) == (2, 5, 5, " MB")
    assert bars[0].desc == "fetching archive.tar"


@pytest.mark.parametrize("kept", [CONTENT[:1_000], CONTENT, CONTENT + b"more"])
@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_kept_may_be_whole_or_too_much_and_the_server_may_know_no_ranges(
    server: Server, tmp_path: Path, kept: bytes, ranges: bool
) -> None:
    server.ranges = ranges
    (tmp_path / "a.part").write_bytes(kept)
    assert download(server.url, tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"sha256": "AB"}, f"its sha256 is {hashlib.sha256(CONTENT).hexdigest()} where ab is exp"),
        ({"md5": "ab"}, f"its md5 is {hashlib.md5(CONTENT).hexdigest()} where ab is expected"),
    ],
)
def test_another_file_than_expected_is_refused_and_not_kept(
    server: Server, tmp_path: Path, expected: dict[str, str], said: str
) -> None:
    with pytest.raises(DataError, match=f"another file than expected: .*{said}") as caught:
        download(server.url, tmp_path / "a", **expected)
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
