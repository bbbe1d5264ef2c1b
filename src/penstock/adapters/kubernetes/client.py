"""A Kubernetes API server, as far as we need it: JSON in, JSON out, and every failure an OSError.

Who we are there, TLS and connections are lightkube's work (extra `kubernetes`), imported only when somebody asks.
Objects stay plain dicts: of the hundreds of fields of a pod a dozen are looked at. Refused: typed models of all
resources, which cost ten times the import and know no field that is newer than they are.
"""

import asyncio
import contextlib
import importlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""What a pod finds its own account under."""
PAGE = 500
"""Objects of a list in one answer, as kubectl asks for."""
MOST_PAGES = 40
LINE_BYTES = 8 << 20
"""One event of a watch; etcd holds no larger object than 1.5 MiB."""
CONNECT_S = 5.0

Json = dict[str, Any]


def _doc(text: str) -> Meta:
    return Meta(description=text)


Namespace = Annotated[str | None, _doc("its namespace; none: the pod's own, or that of the kubeconfig's context")]
Kubeconfig = Annotated[
    str | None,
    _doc(
        "file that says where the cluster is and who we are; none: the pod's service account, else $KUBECONFIG, else"
        " ~/.kube/config"
    ),
]
Context = Annotated[str | None, _doc("context of that file; none: its current one")]


class Refused(OSError):
    """The API server said no. `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server says {status}: {message}"[:300])
        self.status = status


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise OSError("lightkube is not installed: install `penstock[kubernetes]`") from None


class Cluster:
    """Where the API server is, and who we are there."""

    def __init__(
        self, namespace: str | None, kubeconfig: str | None, context: str | None,
        service_account: str = SERVICE_ACCOUNT,
    ) -> None:  # fmt: skip
        self._kubeconfig = kubeconfig
        self._context = context
        self._service_account = service_account
        self._options: dict[str, Any] = {}
        """Of a client; empty: not read yet."""
        self._namespace = namespace

    @contextlib.asynccontextmanager
    async def session(self, timeout_s: float) -> AsyncIterator["Session"]:
        """Requests over one connection, all of them within this time. Raises OSError."""
        try:
            async with asyncio.timeout(timeout_s):
                if not self._options:
                    await asyncio.to_thread(self._open)  # a quarter of a second of imports, once: not on the loop
                library = _package("httpx2")
                async with library.AsyncClient(**self._options) as client:
                    yield Session(client, self._namespace or "default", library)
        except TimeoutError:
            raise TimeoutError(f"the API server did not answer within {timeout_s:g} s") from None

    def _open(self) -> None:
        """Raises OSError."""
        files = _package("lightkube.config.kubeconfig").KubeConfig
        adapter = _package("lightkube.config.client_adapter")
        try:
            config = self._read(files).get(self._context)
            limit = _package("httpx2").Timeout(CONNECT_S, read=None, write=CONNECT_S)  # a session has its own limit
            self._options = adapter.ConnectionParams(timeout=limit).httpx_params(config)
        except OSError:
            raise
        except Exception as wrong:  # of the library, of YAML, of whatever somebody wrote into the file
            raise OSError(f"no way to the cluster: {str(wrong) or type(wrong).__name__}"[:300]) from None
        self._namespace = self._namespace or config.namespace

    def _read(self, files: Any) -> Any:
        if self._kubeconfig is not None:
            return files.from_file(self._kubeconfig)
        if self._context is None and Path(self._service_account, "token").exists():
            return files.from_service_account(self._service_account)
        return files.from_file(os.environ.get("KUBECONFIG", "~/.kube/config"))


class Session:
    """Requests over one connection."""

    def __init__(self, client: Any, namespace: str, library: Any) -> None:
        self._client = client
        self._library = library
        self.namespace = namespace

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """One object, or one page of a list. Raises OSError."""
        return await self._ask("GET", path, dict(params or {}))

    async def patch(self, path: str, change: Json) -> Json:
        """Merge a change into an object (RFC 7386); what it is then. Raises OSError."""
        body = json.dumps(change).encode()
        return await self._ask("PATCH", path, {}, body, {"Content-Type": "application/merge-patch+json"})

    async def delete(self, path: str) -> None:
        """Let an object be deleted, in its own time. Raises OSError."""
        await self._ask("DELETE", path, {})

    async def list(self, path: str, params: Mapping[str, str]) -> tuple[list[Json], str]:
        """All objects of a list, and the version of the whole. Raises OSError."""
        found: list[Json] = []
        asked = {**params, "limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            page = await self.get(path, asked)
            meta = page.get("metadata") or {}
            found += page.get("items") or []
            if not meta.get("continue"):
                return found, str(meta.get("resourceVersion", ""))
            asked["continue"] = meta["continue"]
        raise OSError(f"a list of more than {MOST_PAGES * PAGE} objects")

    async def _ask(
        self, method: str, path: str, params: dict[str, str], body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Json:  # fmt: skip
        try:
            answer = await self._client.request(method, path, params=params, content=body, headers=headers)
        except self._library.HTTPError as wrong:
            raise self._failed(wrong) from None
        return _object(answer.status_code, answer.content)

    async def events(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        """The events of a watch, until the server ends it. Raises OSError."""
        asked = {**params, "watch": "true", "allowWatchBookmarks": "true"}
        try:
            async with self._client.stream("GET", path, params=asked) as answer:
                if answer.status_code != 200:
                    _object(answer.status_code, await answer.aread())
                async for line in _lines(answer.aiter_bytes()):
                    yield _decoded(line)
        except self._library.HTTPError as wrong:
            raise self._failed(wrong) from None

    @staticmethod
    def _failed(wrong: Exception) -> OSError:
        return OSError(f"the API server cannot be reached: {str(wrong) or type(wrong).__name__}"[:300])


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held = b""
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(held) > LINE_BYTES:
            raise OSError(f"an event of more than {LINE_BYTES >> 20} MiB")


def _decoded(body: bytes) -> Json:
    """Raises OSError."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise OSError("the API server's answer is no JSON object")
    return told


def _object(status: int, body: bytes) -> Json:
    """Raises OSError."""
    if status < 300:
        return _decoded(body)
    try:
        message = str(_decoded(body).get("message", ""))
    except OSError:
        message = body[:200].decode(errors="replace")
    raise Refused(status, message)
