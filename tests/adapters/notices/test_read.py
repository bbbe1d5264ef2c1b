"""Reading notices: a file, and a metadata service on this machine that behaves as AWS's is documented to."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.notices.notice import EVERYBODY, Notice
from penstock.adapters.notices.read import in_file, in_metadata
from tests.helpers.desk import listening

ACTION = "/latest/meta-data/spot/instance-action"
TOKEN = "/latest/api/token"
PAGE = b'{"action": "terminate", "time": "2025-11-25T17:00:00Z"}'


class Service:
    """Instance metadata: 404 until something is planned; with `tokens` only for who shows one (IMDSv2)."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.page: bytes | None = None
        self.tokens = False
        self.elsewhere = ""
        self.asked: list[str] = []


@contextmanager
def service() -> Iterator[Service]:
    """One, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _say(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            made.asked.append(f"PUT {self.path}")
            asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            self._say(200, b"secret") if asked == "21600" else self._say(400, b"")

        def do_GET(self) -> None:
            made.asked.append(f"GET {self.path}")
            if made.elsewhere:
                self._say(302, b"", location=made.elsewhere)
            elif made.tokens and self.headers.get("X-aws-ec2-metadata-token") != "secret":
                self._say(401, b"")
            elif made.page is None or self.path != ACTION:
                self._say(404, b"")
            else:
                self._say(200, made.page)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        made = Service(port)
        yield made


def read(at: Service, token: bool = False) -> list[Notice]:
    """What it says."""
    return asyncio.run(in_metadata(at.url + ACTION, at.url + TOKEN if token else None, 5.0))


def test_a_file(tmp_path: Path) -> None:
    """One that is not there has no notices; one that is too long, or no text, is an error."""
    path = tmp_path / "notices"
    assert in_file(str(path)) == []
    path.write_text("p-3\n")
    assert in_file(str(path)) == [Notice("p-3", None)]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        in_file(str(path))
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ValueError, match="more than 1,048,576 bytes"):
        in_file(str(path))
    with pytest.raises(OSError, match="directory"):
        in_file(str(tmp_path))


def test_metadata() -> None:
    """404 is no notice; then it is one for the whole machine."""
    with service() as at:
        assert read(at) == []
        at.page = PAGE
        (notice,) = read(at)
    assert notice.unit == EVERYBODY


def test_a_token_is_asked_for_first() -> None:
    """Where the configuration says so, as IMDSv2 wants it; without one the service refuses, which is an error."""
    with service() as at:
        at.page, at.tokens = PAGE, True
        assert len(read(at, token=True)) == 1
        assert at.asked == [f"PUT {TOKEN}", f"GET {ACTION}"]
        with pytest.raises(OSError, match="401"):
            read(at)


def test_nobody_is_sent_elsewhere() -> None:
    """A redirect is an error: the URL that was configured means that very place."""
    with service() as at:
        at.elsewhere = f"{at.url}/other"
        with pytest.raises(OSError, match="302"):
            read(at)
        assert at.asked == [f"GET {ACTION}"]


def test_nonsense_and_silence_are_errors() -> None:
    """Another page, and nobody there."""
    with service() as at:
        at.page = b"<html>"
        with pytest.raises(ValueError, match="not a page like"):
            read(at)
    with pytest.raises(OSError, match="refused"):
        read(at)
