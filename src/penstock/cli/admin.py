"""Asking a running gateway's admin API: where it is, with which key, and what went wrong in words a person can use."""

import http.client
import json
import ssl
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

DEFAULT = "http://127.0.0.1:9090"
MOST_BYTES = 256 << 20
"""A larger answer is not read: ten thousand replicas take some ten megabytes."""

AdminUrl = Annotated[
    str, typer.Option("--admin", envvar="PENSTOCK_ADMIN", metavar="URL", help="The gateway's admin address.")
]
AdminKey = Annotated[
    str | None,
    typer.Option("--key", "--admin-key", envvar="PENSTOCK_ADMIN_KEY", show_envvar=True, help="Its admin key."),
]


class AdminError(Exception):
    """It cannot be had. `status` is the HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Admin:
    """The admin API of one gateway. One connection, opened again where it broke."""

    def __init__(self, url: str, key: str | None = None, timeout_s: float = 5.0) -> None:
        """Raises ValueError where the URL is none."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like {DEFAULT}")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._base = parts.path.rstrip("/")
        self._headers = {"accept": "*/*", **({"authorization": f"Bearer {key}"} if key else {})}
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._link: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._link = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=context)
        else:
            self._link = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)

    def close(self) -> None:
        """Let the connection go."""
        self._link.close()

    def page(self, path: str) -> bytes:
        """The body of a page. Raises AdminError."""
        try:
            status, body = self._ask(path)
        except (http.client.HTTPException, OSError):
            self._link.close()  # it may only have idled too long
            try:
                status, body = self._ask(path)
            except (http.client.HTTPException, OSError) as error:
                self._link.close()
                raise self._nobody(error) from None
        if status == 200:
            return body
        raise self._error(status, body)

    def read(self, path: str) -> Any:
        """The JSON of a page. Raises AdminError."""
        try:
            return json.loads(self.page(path))
        except ValueError:
            raise AdminError(f"what answers at {self.url} is no admin API of Penstock") from None

    def post(self, path: str, body: Any) -> Any:
        """Order something; the JSON of the answer. Raises AdminError. It is not tried again: it may have been done."""
        try:
            status, page = self._ask(path, json.dumps(body))
        except (http.client.HTTPException, OSError) as error:
            self._link.close()
            raise self._nobody(error) from None
        if status != 200:
            raise self._error(status, page)
        return json.loads(page)

    def _ask(self, path: str, body: str | None = None) -> tuple[int, bytes]:
        self._link.request("GET" if body is None else "POST", self._base + path, body, headers=self._headers)
        answer = self._link.getresponse()
        return answer.status, answer.read(MOST_BYTES)

    def _nobody(self, error: Exception) -> AdminError:
        way_out = "start one with `penstock serve`, or say with --admin (or PENSTOCK_ADMIN) where its admin API is"
        return AdminError(f"no gateway answers at {self.url} ({_reason(error)}): {way_out}")

    def _error(self, status: int, body: bytes) -> AdminError:
        try:
            told = json.loads(body)["error"]
            message, code = str(told["message"]), str(told["code"])
        except (ValueError, KeyError, TypeError):
            return AdminError(f"what answers at {self.url} is no admin API of Penstock (status {status})", status)
        if status == 401:
            message = f"{self.url} asks for its admin key: give --admin-key, or set PENSTOCK_ADMIN_KEY"
        return AdminError(message, status, code)


def admin_at(url: str, key: str | None) -> Admin:
    """The admin API, for a command. Raises typer's BadParameter."""
    if key is not None and not (key.isascii() and key.isprintable()):
        raise typer.BadParameter("holds characters that no key has", param_hint="--key")
    try:
        return Admin(url, key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--admin") from None


def quoted(text: str) -> str:
    """Part of a path or a query, whatever it holds."""
    return quote(text, safe="")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
