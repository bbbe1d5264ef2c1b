"""Sessions through a running gateway: named by header, by cookie or by a cookie that it gives; users by their field."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import yaml

from penstock.config.load import load, read_text
from penstock.core.events import Arrived
from penstock.gateway.build import Gateway
from tests.helpers.wire import Client, Engine, answer, request, run, until


class Rig:
    """A gateway over three engines in one pool, whose fields the test gives."""

    def __init__(self, engines: list[Engine], more: dict[str, Any]) -> None:
        replicas = [{"url": engine.url, "id": f"e{number}"} for number, engine in enumerate(engines)]
        pool = {"name": "p", "models": ["m"], "probe": {"enabled": False}, "replicas": replicas, **more}
        text = yaml.safe_dump({"listen": "127.0.0.1:0", "admin": None, "pools": [pool]})
        self.gateway = Gateway(load(text, {}, read_text), seed=1)

    async def ask(self, extra: str = "", user: str = "null") -> tuple[str, str]:
        """The engine that answered, and the cookie that the client was given."""
        async with Client(self.gateway.bound().server.listen[1]) as client:
            client.send(request(f'{{"model":"m","messages":[],"user":{user}}}'.encode(), extra=extra))
            got = await client.answer()
            assert got.status == 200
            return got.header("x-penstock-replica") or "", got.header("set-cookie") or ""

    def calls(self) -> list[Arrived]:
        """The calls that the Gate was told of."""
        return [fact for _, fact, _ in self.gateway.journal.turns() if isinstance(fact, Arrived)]


@asynccontextmanager
async def rigged(**more: Any) -> AsyncIterator[Rig]:
    """A rig that runs."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(Engine(scripts=[[answer()]])) for _ in range(3)]
        rig = Rig(engines, more)
        await rig.gateway.start()
        yield rig
        await until(lambda: not rig.gateway.counters()["flights"] + rig.gateway.counters()["exchanges"])
        await rig.gateway.stop()


def test_a_header_makes_a_session_stick() -> None:
    """Round robin goes around; the calls of a session do not, and no name of one stands in the journal."""

    async def main() -> None:
        async with rigged(strategy="round_robin", sticky={"header": "X-Chat"}) as rig:
            assert len({(await rig.ask())[0] for _ in range(3)}) == 3
            assert len({await rig.ask("x-chat: secret-one\r\n") for _ in range(5)}) == 1
            assert all("secret" not in repr(fact) for fact in rig.calls())

    run(main)


def test_a_client_without_a_session_is_given_a_cookie() -> None:
    """Shown again it leads to the same replica, and no other is given; each client gets its own."""

    async def main() -> None:
        async with rigged(strategy="round_robin", sticky={"cookie": "sid", "ttl": "1m"}) as rig:
            first, given = await rig.ask()
            assert given.startswith("sid=")
            assert "Max-Age=60; Path=/; HttpOnly; SameSite=Lax" in given
            cookie = given.partition(";")[0]
            for _ in range(4):
                assert await rig.ask(f"cookie: theme=dark; {cookie}\r\n") == (first, "")
            assert (await rig.ask())[1] != given

    run(main)


def test_without_sticky_sessions_nobody_is_given_a_cookie() -> None:
    """Nor does a cookie mean anything."""

    async def main() -> None:
        async with rigged(strategy="round_robin") as rig:
            got = [await rig.ask("cookie: sid=x\r\nx-session-id: y\r\n") for _ in range(3)]
            assert len({replica for replica, _ in got}) == 3
            assert {cookie for _, cookie in got} == {""}
            assert {fact.call.session for fact in rig.calls()} == {""}

    run(main)


def test_consistent_hash_goes_by_session_or_by_user() -> None:
    """Its own header names the session; without one the body's `user`, whatever is not a text being none."""

    async def main() -> None:
        async with rigged(strategy="consistent_hash") as rig:
            assert len({(await rig.ask("x-session-id: s\r\n"))[0] for _ in range(5)}) == 1
            by_user = {name: {(await rig.ask(user=f'"{name}"'))[0] for _ in range(3)} for name in "abcdefgh"}
            assert all(len(replicas) == 1 for replicas in by_user.values())
            assert len(set.union(*by_user.values())) > 1
            for nobody in ("null", "7", '""', '{"a": []}'):
                await rig.ask(user=nobody)
            assert [fact.call.user == "" for fact in rig.calls()[-5:]] == [False, True, True, True, True]

    run(main)
