"""A web server on this machine that cuts, lies and counts as told, and small catalogues whose files it serves."""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from galenic.catalog import transfer
from galenic.catalog.entry import Entry, read_entry, set_digest


@dataclass
class Site:
    """What the server holds and how it behaves; `asked` lists (path, Range header or "") of each request."""

    base: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)  # a request each: bytes of body before the connection is cut
    statuses: list[int] = field(default_factory=list)  # a request each: answer with this instead; 0 is as usual
    ranges: bool = True
    shift_range: int = 0
    gate: threading.Event | None = None  # when set, a body stops half-way until the gate opens


def _answer(site: Site, handler: BaseHTTPRequestHandler) -> None:
    path = unquote(handler.path).removeprefix("/")
    wanted = handler.headers.get("Range", "")
    site.asked.append((path, wanted))
    status = site.statuses.pop(0) if site.statuses else 0
    body = site.content.get(path)
    if status or body is None:
        handler.send_response(status or 404)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start, code = 0, 200
    found = re.fullmatch(r"bytes=(\d+)-", wanted)
    if found and site.ranges:
        start, code = int(found[1]), 206
    if start >= len(body) and code == 206:
        handler.send_response(416)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(code)
    if code == 206:
        told = start + site.shift_range
        handler.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    _send(site, handler, body[start:])


def _send(site: Site, handler: BaseHTTPRequestHandler, rest: bytes) -> None:
    if site.cut_after:
        handler.wfile.write(rest[: site.cut_after.pop(0)])
        handler.wfile.flush()
        handler.close_connection = True
        return
    if site.gate is not None:
        handler.wfile.write(rest[: len(rest) // 2])
        handler.wfile.flush()
        site.gate.wait(10)
        rest = rest[len(rest) // 2 :]
    handler.wfile.write(rest)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A running server; retries wait no noticeable time."""
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.001)
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(told, self)

        def log_message(self, format: str, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    told.base = f"http://127.0.0.1:{server.server_address[1]}/"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def make_entry(tmp_path: Path, site: Site) -> Callable[..., Entry]:
    """Write a catalogue entry `toy` of given files, small manifest or not, and put the files on the server."""

    def make(files: dict[str, bytes], *, digests: bool = True) -> Entry:
        home = tmp_path / "catalogue"
        (home / "files").mkdir(parents=True, exist_ok=True)
        site.content.update({f"pub/{path}": content for path, content in files.items()})
        sha = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
        rows = [["path", "bytes"] + ["sha256"] * digests]
        rows += [[path, str(len(files[path]))] + [sha[path]] * digests for path in sorted(files)]
        text = "".join("\t".join(row) + "\n" for row in rows)
        (home / "files" / "toy.tsv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        (home / "toy.toml").write_text(
            f"""
            name = "toy"
            title = "A toy"
            what = "bytes"
            modality = "none"
            licence = "CC0"
            licence_note = "made for a test"
            citation = ["nobody"]
            origin = "here"
            traps = []
            [files]
            count = {len(files)}
            bytes = {sum(len(content) for content in files.values())}
            digest = "{set_digest(sha.items())}"
            [[files.sources]]
            base = "{site.base}pub/"
            """,
            encoding="utf-8",
        )
        return read_entry(home / "toy.toml")

    return make
