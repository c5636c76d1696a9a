"""The commands in this process, and a small catalogue whose files a web server on this machine holds."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from galenic.catalog import entry
from galenic.cli.door import app

Run = Callable[..., Result]
FILES = {"scans/a.bin": b"first", "scans/b.bin": b"second one"}


@pytest.fixture
def run() -> Run:
    """`run("data", "list")`: the command's exit code, stdout and stderr."""

    def invoke(*words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=answer)

    return invoke


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A model folder, and what training it printed."""
    folder = tmp_path_factory.mktemp("runs") / "model"
    words = ["train", "breast_cancer", "--budget", "30steps", "-o", str(folder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    return folder, result


class _Handler(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A catalogue of one set `toy`, its server's requests as they come, and an empty cache in GALENIC_DATA."""
    web, catalogue = tmp_path / "web", tmp_path / "catalogue"
    requests: list[str] = []
    for path, content in FILES.items():
        (web / "pub" / path).parent.mkdir(parents=True, exist_ok=True)
        (web / "pub" / path).write_bytes(content)
    handler = type("Handler", (_Handler,), {"asked": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(web)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    _write_entry(catalogue, f"http://127.0.0.1:{server.server_address[1]}/pub/")
    monkeypatch.setattr(entry, "HERE", catalogue)
    monkeypatch.setenv("GALENIC_DATA", str(tmp_path / "cache"))
    entry.load.cache_clear()
    yield requests
    entry.load.cache_clear()
    server.shutdown()
    server.server_close()
    thread.join()


def _write_entry(home: Path, base: str) -> None:
    sha = {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}
    lines = ["path\tbytes\tsha256\n", *(f"{path}\t{len(FILES[path])}\t{sha[path]}\n" for path in sorted(FILES))]
    (home / "files").mkdir(parents=True)
    (home / "files" / "toy.tsv.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    (home / "toy.toml").write_text(
        f"""
        name = "toy"
        title = "A toy [bold]set[/bold]"
        what = "bytes"
        modality = "none"
        licence = "CC0"
        licence_note = "made for a test"
        citation = ["nobody"]
        origin = "here"
        traps = ["it is no data set"]
        [files]
        count = {len(FILES)}
        bytes = {sum(len(content) for content in FILES.values())}
        digest = "{entry.set_digest(sha.items())}"
        [[files.sources]]
        base = "{base}"
        """,
        encoding="utf-8",
    )
