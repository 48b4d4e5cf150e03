"""Downloads: taken up again where they were cut off, and refused where they are another file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fnx.errors import DataError
from fnx.utils import download as module
from fnx.utils.download import download

CONTENT = bytes(range(256)) * 8_000  # 2 MB


class Server:
    """A real server of one file, which can cut connections and does as it is told with ranges."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # whether it answers with parts of the file
        self.cut_after: list[int] = []  # bytes after which the next connections break
        self.asked: list[str | None] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                owner.asked.append(wanted)
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
                self.send_header("Content-Length", str(total - start))
                self.end_headers()
                end = start + owner.cut_after.pop(0) if owner.cut_after else total
                self.wfile.write(owner.content[start:end])

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/archive.tar"
        Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_file_is_fetched_once_into_its_place(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new/folder/archive.tar"
    digest = hashlib.sha256(CONTENT).hexdigest()
    md5 = hashlib.md5(CONTENT).hexdigest()
    for _ in range(2):
        assert download(server.url, target, sha256=digest, md5=md5, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    assert server.asked == [None]
    assert list(target.parent.iterdir()) == [target]


def test_a_broken_connection_is_taken_up_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = [700_000, 100_000]
    target = download(server.url, tmp_path / "a", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=700000-", "bytes=800000-"]


def test_a_later_call_goes_on_with_what_is_kept(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1_000] * 4
    with pytest.raises(DataError, match=r"4,000 bytes are kept") as caught:
        download(server.url, tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()
    assert download(server.url, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=4000-"


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
        ({"sha256": "ab"}, "sha256"),
        ({"md5": "ab"}, "md5"),
        ({"size": 5}, "2,048,000 bytes where 5"),
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
    with pytest.raises(DataError, match=r"cannot be fetched: .*refused"):
        download(server.url, tmp_path / "a")
    with pytest.raises(DataError, match="begin with http"):
        download("file:///etc/passwd", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
