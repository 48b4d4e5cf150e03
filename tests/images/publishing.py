"""A web server of the small archives, and data sets that are fetched from it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.images.archives import BUILDERS

from fnx.config.schema import DatasetConfig
from fnx.images import LabelledImages, open_images
from fnx.images.official import OFFICIAL, Archive


@dataclass
class Server:
    """A web server of one folder; `asked` holds each request's path and its Range header."""

    folder: Path
    url: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve the files of `folder`, and parts of them."""
    folder.mkdir()
    found = Server(folder, "")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            found.asked.append((self.path.lstrip("/"), wanted))
            file = folder / self.path.lstrip("/")
            if wanted is None or not file.is_file():
                return super().do_GET()
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            content = file.read_bytes()
            self.send_response(206)
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[first:])
            return None

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    found.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    http.shutdown()
    http.server_close()


def publish(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a small archive of the data set on the server, with its true checksum published."""
    BUILDERS[name](server.folder)

    def here(archive: Archive) -> Archive:
        if not archive.public:
            return replace(archive, md5=md5(server.folder / archive.name), sha256=None)
        url = server.url + archive.name
        return replace(archive, url=url, md5=md5(server.folder / archive.name), sha256=None)

    moved = tuple(here(archive) for archive in OFFICIAL[name].archives)
    monkeypatch.setitem(OFFICIAL, name, replace(OFFICIAL[name], archives=moved))


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def dataset(name: str, tmp_path: Path, **options: Any) -> DatasetConfig:
    root = tmp_path / "data" / name
    return DatasetConfig(name=name, layout=name, root=str(root), download=True, **options)


def opened(name: str, tmp_path: Path, **options: Any) -> LabelledImages:
    return open_images(dataset(name, tmp_path, **options), tmp_path / "cache")
