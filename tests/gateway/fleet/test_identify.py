"""Engines asked who they are, by scripted pages: what is learnt is told once, and a hiccup forgets nothing."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from penstock.base.nouns import Engine, EngineAbout, Replica
from penstock.config.load import load, read_text
from penstock.config.schema import Access
from penstock.gateway.build import Gateway
from penstock.gateway.fleet.identify import AGAIN_S, AT_ONCE, Identifier
from tests.helpers.wire import CLOSE, answer, run, until
from tests.helpers.wire import Engine as Scripted

Pages = dict[str, Any]


class Replicas:
    """Replicas as maps of path -> JSON page: a missing path is a 404, a replica without pages does not answer."""

    def __init__(self, **pages: Pages) -> None:
        self.pages = pages
        self.targets: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.told: list[Mapping[str, EngineAbout]] = []
        self.now = 0.0
        self.at_once = self.most = 0
        for name in pages:
            self.add(name)
        self.identifier = Identifier(self.targets, self.fetch, self.told.append, lambda: self.now)

    def add(self, name: str, url: str = "", engine: Engine = "generic", asks: bool = True) -> None:
        """A replica joins, or is another one now."""
        replica = Replica(id=name, url=url or f"http://{name}", pool="p", engine=engine)
        self.targets[name] = type("Target", (), {"replica": replica, "access": Access(asks_engine=asks)})()

    async def fetch(
        self, replica: str, path: str, port: int | None, timeout_s: float, max_bytes: int
    ) -> tuple[int, bytes]:
        """One page."""
        self.asked.append((replica, path))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        pages = self.pages.get(replica)
        if not pages:
            raise ConnectionRefusedError
        return (200, json.dumps(pages[path]).encode()) if path in pages else (404, b"")

    def look(self, now: float) -> Mapping[str, EngineAbout]:
        """One round; what has been told last."""
        self.now = now
        run(self.identifier.look)
        return self.told[-1] if self.told else {}


def models(owner: str, **fields: Any) -> Pages:
    """A list of models."""
    return {"/v1/models": {"data": [{"id": "m", "owned_by": owner, **fields}]}}


VLLM = models("vllm", max_model_len=4096) | {"/version": {"version": "0.32.0"}}
OLLAMA = models("library") | {"/api/version": {"version": "0.12.3"}}
TGI = models("bigscience/bloom") | {
    "/info": {"model_id": "b", "max_concurrent_requests": 128, "version": "3.3.4", "max_total_tokens": 2048}
}
OLD_SGLANG = models("sglang") | {"/get_server_info": {"model_path": "m", "version": "0.4.9"}}


def test_every_engine_is_known_for_what_it_is() -> None:
    """By its list of models or by a page that only it has; one telling for all."""
    replicas = Replicas(
        vllm=VLLM, ollama=OLLAMA, tgi=TGI, sglang=OLD_SGLANG, triton=models("Triton Inference Server"),
        other=models("me"), dead={},
    )  # fmt: skip
    told = replicas.look(0.0)
    assert {name: (it.engine, it.version) for name, it in told.items()} == {
        "vllm": ("vllm", "0.32.0"), "ollama": ("ollama", "0.12.3"), "tgi": ("tgi", "3.3.4"),
        "sglang": ("sglang", "0.4.9"), "triton": ("triton", ""), "other": ("generic", ""),
    }  # fmt: skip
    assert told["vllm"].max_model_len == 4096
    assert len(replicas.told) == 1


def test_those_that_answer_are_asked_every_half_minute_the_others_sooner() -> None:
    """A replica that is down is asked after 1 s, 2 s, 4 s…; one that is known rests."""
    replicas = Replicas(up=VLLM, down={})
    times: list[tuple[float, str]] = []
    for now in (0.0, 0.9, 1.0, 2.9, 3.0, 6.9, 7.0, 14.9, 15.0, 29.9):
        before = len(replicas.asked)
        replicas.look(now)
        times += [(now, name) for name, path in replicas.asked[before:] if path == "/v1/models"]
    assert [at for at, name in times if name == "up"] == [0.0]
    assert [at for at, name in times if name == "down"] == [0.0, 1.0, 3.0, 7.0, 15.0]


def test_an_engine_that_comes_back_as_another_is_known_for_it() -> None:
    """While it is down what was known stays; then the new one is told."""
    replicas = Replicas(a=VLLM)
    replicas.look(0.0)
    replicas.pages["a"] = {}
    assert replicas.look(AGAIN_S)["a"].engine == "vllm"
    replicas.pages["a"] = TGI
    assert replicas.look(AGAIN_S + 1.0)["a"] == EngineAbout(
        engine="tgi", version="3.3.4", max_model_len=2048, seats=128
    )
    assert len(replicas.told) == 2


def test_a_missed_page_makes_nobody_of_an_engine() -> None:
    """Ollama whose own page fails twice is still Ollama, at the third time it is not; vLLM keeps its version."""
    replicas = Replicas(a=OLLAMA, b=VLLM)
    replicas.look(0.0)
    replicas.pages["a"], replicas.pages["b"] = models("library"), models("vllm", max_model_len=4096)
    told = replicas.look(AGAIN_S)
    assert (told["a"].engine, told["b"].version) == ("ollama", "0.32.0")
    assert replicas.look(AGAIN_S + 1.0)["a"].engine == "ollama"
    assert replicas.look(AGAIN_S + 3.0)["a"].engine == "generic"


def test_one_whose_engine_is_written_is_asked_for_its_version_alone() -> None:
    """No list of models, no guessing; and a generic one is not asked at all."""
    replicas = Replicas(a=TGI, b=VLLM, c=TGI)
    replicas.add("a", engine="tgi", asks=False)
    replicas.add("b", engine="generic", asks=False)
    replicas.add("c", engine="vllm", asks=False)
    assert {name: it.version for name, it in replicas.look(0.0).items()} == {"a": "3.3.4"}
    assert replicas.asked == [("a", "/info"), ("c", "/version")]


def test_who_moves_or_leaves_is_forgotten() -> None:
    """Another URL is another engine until it has said who it is."""
    replicas = Replicas(a=VLLM, b=VLLM)
    replicas.look(0.0)
    replicas.add("a", "http://elsewhere")
    replicas.pages["a"] = {}
    del replicas.targets["b"]
    assert replicas.look(1.0) == {}


def test_few_are_asked_at_once() -> None:
    """A large fleet is asked in turn."""
    replicas = Replicas(**{f"r{number}": VLLM for number in range(3 * AT_ONCE)})
    assert len(replicas.look(0.0)) == 3 * AT_ONCE
    assert replicas.most <= AT_ONCE


def test_it_goes_on_after_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """A bug costs one round."""

    async def main() -> None:
        rounds = 0

        def hear(about: object) -> None:
            nonlocal rounds
            rounds += 1
            raise RuntimeError("a bug")

        replicas = Replicas(a=VLLM)
        identifier = Identifier(replicas.targets, replicas.fetch, hear, lambda: 0.0, round_s=0.001)
        task = asyncio.get_running_loop().create_task(identifier.watch())
        await until(lambda: rounds >= 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main)
    assert [record for record in caplog.records if record.exc_info]


def test_a_gateway_learns_who_its_replicas_are() -> None:
    """From `engine: auto` in the file to the fleet's view, over sockets, with the seats that the engine tells."""

    def script(page: object) -> list[bytes | str]:
        return [answer(json.dumps(page).encode()), CLOSE]

    props = {"default_generation_settings": {"n_ctx": 8192}, "total_slots": 3, "build_info": "b6000"}

    async def main() -> None:
        # /metrics may be asked as soon as it is known for a llama-server; it repeats the last script
        async with Scripted([script(models("llamacpp")["/v1/models"]), script(props)]) as engine:
            page = f"""
listen: 127.0.0.1:0
admin: null
pools:
  - name: p
    models: [m]
    probe: {{enabled: false}}
    replicas: [{{url: "{engine.url}", id: r, engine: auto}}]
"""
            gateway = Gateway(load(page, {}, read_text), seed=1)
            await gateway.start()
            try:
                await until(lambda: gateway.replica_views()[0].engine == "llamacpp")
                (view,) = gateway.replica_views()
                assert (view.version, view.max_model_len, view.seats) == ("b6000", 8192, 3)
            finally:
                await gateway.stop()

    run(main)
