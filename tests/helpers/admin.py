"""The admin application over a gateway that is not started, asked as ASGI: no sockets, no uvicorn."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from penstock.config.load import load
from penstock.config.schema import Settings
from penstock.gateway.admin.admin import build_admin
from penstock.gateway.build import Gateway

CONFIG = """
admin_key: sk-admin-key
pools:
  - name: p
    models: [m]
    probe: {enabled: false}
    replicas: [{url: "http://127.0.0.1:9", id: "a/b:c", models: [m]}, {url: "http://127.0.0.1:10", models: [m]}]
"""
KEYLESS = CONFIG.replace("admin_key: sk-admin-key\n", "")
KEY = {"authorization": "Bearer sk-admin-key"}
READABLE = [
    "/admin/fleet",
    "/admin/queues",
    "/admin/counters",
    "/admin/journal",
    "/admin/tenants",
    "/metrics",
    "/health",
]
NEW = {"pool": "p", "url": "http://127.0.0.1:11", "models": ["m"]}


class Answer:
    """What the application answered."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in OpenAI's shape; fails where it is none."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert self.status >= 400
        code: str = error["code"]
        return code


class Rig:
    """A gateway that is not started, and its admin application."""

    def __init__(self, text: str, file: Path | None = None) -> None:
        """`file`: where the text stands, for what needs a folder."""
        self.text, self.file = text, file
        if file is not None:
            file.write_text(text)
        self.gateway = Gateway(self.read(), self.read, file)
        self.gateway.roster.configured(self.gateway.reloader.settings)
        self.app = build_admin(self.gateway)

    def read(self) -> Settings:
        """What the file says now."""
        text = self.text if self.file is None else self.file.read_text(encoding="utf-8")
        folder = "" if self.file is None else str(self.file.parent)
        return load(text, {"HOME": "/root"}, lambda path: Path(path).read_text(encoding="utf-8"), folder)

    async def ask(
        self, method: str, path: str, body: object = b"", headers: dict[str, str] | None = None,
        app: ASGIApp | None = None, chunks: list[dict[str, Any]] | None = None,
    ) -> Answer:  # fmt: skip
        """One request, as ASGI."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages = chunks or [{"type": "http.request", "body": data, "more_body": False}]
        sent = {"host": "127.0.0.1:9090", **(KEY if headers is None else headers)}
        plain, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": plain, "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 9090),
        }  # fmt: skip
        answer = Answer()

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message["body"]

        await (app or self.app)(scope, receive, send)
        return answer

    @property
    def ids(self) -> list[str]:
        """Who is in the fleet."""
        return [view.id for view in self.gateway.replica_views()]


@asynccontextmanager
async def rigged(text: str = CONFIG, file: Path | None = None) -> AsyncIterator[Rig]:
    """A rig, within five seconds, stopped at its end."""
    async with asyncio.timeout(5):
        rig = Rig(text, file)
        yield rig
        await rig.gateway.stop()


def over(test: Callable[[Rig], Coroutine[Any, Any, None]], text: str = CONFIG, file: Path | None = None) -> None:
    """Run a test with a rig."""

    async def main() -> None:
        async with rigged(text, file) as rig:
            await test(rig)

    asyncio.run(main())
