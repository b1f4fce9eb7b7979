"""`tunelang fetch`, against a hub of our own on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")
COMMIT = "b" * 40
FILE = b'tune 1\nhardware h100 { gpu = "H100-80GB" }\n'
LINE = (
    'tune 1\nimport "hub:tune/hardware@2.1.0" as hw\nhardware pod extends hw.h100 { count = 8 }\n'
)


class Hub(BaseHTTPRequestHandler):
    """Answers for one file of one tag, as the hub does."""

    def do_HEAD(self) -> None:
        self.do_GET(body=b"")

    def do_GET(self, body: bytes = FILE) -> None:
        known = self.path == "/datasets/tune/hardware/resolve/2.1.0/recipe.tune"
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("Content-Length", str(len(FILE) if known else 0))
        self.end_headers()
        self.wfile.write(body if known else b"")

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which the hub is ours and its cache empty."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    own = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
    }
    yield kept | own
    server.shutdown()


def tunelang(environment: dict[str, str], *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tunelang", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_what_is_fetched_can_be_checked(hub: dict[str, str], tmp_path: Path) -> None:
    """Before: one line says what to do. After: only the hash is missing, and --fix writes it."""
    recipe = tmp_path / "recipe.tune"
    recipe.write_text(LINE)
    code, said = tunelang(hub, "check", str(recipe))
    assert code == 1 and "`tunelang fetch RECIPE`" in said
    code, said = tunelang(hub, "fetch", str(recipe))
    assert code == 0 and "hub:tune/hardware@2.1.0" in said
    code, said = tunelang(hub, "check", "--fix", str(recipe))
    assert code == 0, said
    assert "as hw sha256:" in recipe.read_text()


def test_what_is_not_there_is_said(hub: dict[str, str], tmp_path: Path) -> None:
    """A tag that does not exist: one finding, no traceback."""
    recipe = tmp_path / "recipe.tune"
    recipe.write_text(LINE.replace("2.1.0", "9.9.9"))
    code, said = tunelang(hub, "fetch", str(recipe))
    assert code == 1
    assert "error[TL012]" in said and "Traceback" not in said
