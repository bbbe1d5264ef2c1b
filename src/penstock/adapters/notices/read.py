"""Reads notices where the configuration says: from a file, or from an instance's metadata. No redirect is followed, and
no proxy is asked: a URL means that very place.
"""

import asyncio
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from penstock.adapters.notices.notice import Notice, in_lines, of_metadata

MOST_BYTES = 1 << 20
TOKEN_S = 21_600
"""How long a token of the metadata service (IMDSv2) is asked for; a new one is got each time, so that none is kept."""


class _Stays(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Nobody is sent elsewhere."""


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stays())


def in_file(path: str) -> list[Notice]:
    """The notices in a file; a file that is not there has none. Raises OSError or ValueError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return in_lines(data.decode())


def _asked(url: str, method: str, headers: dict[str, str], timeout_s: float) -> bytes:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            body: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as answered:
        answered.close()  # it holds its connection
        raise
    except http.client.HTTPException as wrong:
        raise OSError(f"no HTTP: {wrong}") from None
    if len(body) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return body


def _metadata(url: str, token_url: str | None, timeout_s: float) -> list[Notice]:
    headers = {}
    if token_url is not None:
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
        token = _asked(token_url, "PUT", wanted, timeout_s).decode("ascii").strip()
        headers["X-aws-ec2-metadata-token"] = token
    try:
        return [of_metadata(_asked(url, "GET", headers, timeout_s))]
    except urllib.error.HTTPError as answer:
        if answer.code == 404:  # so it says that nothing is planned
            return []
        raise


async def in_metadata(url: str, token_url: str | None, timeout_s: float) -> list[Notice]:
    """The notice of an instance's metadata, as AWS gives it; 404: there is none. Raises OSError or ValueError."""
    return await asyncio.to_thread(_metadata, url, token_url, timeout_s)
