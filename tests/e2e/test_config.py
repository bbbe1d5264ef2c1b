"""Files as people write them: the issue's own, then pools, routes, aliases, fallbacks and backups over real sockets."""

import json
from pathlib import Path

import openai
import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Tree, ending
from tests.helpers.traffic import ask, chat, eventually, pool, ready, seen, states, unique
from tests.helpers.wire import Answer, run

pytestmark = pytest.mark.slow

ISSUE = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
keys: [{name: demo, key: sk-demo}]
pools:
  - name: tiny
    models: [tiny]
    strategy: adaptive
    replicas:
      - {url: "%s", engine: vllm}
      - {url: "%s", engine: vllm}
"""


def code(answer: Answer) -> str:
    """The code of an error."""
    found: str = json.loads(answer.body)["error"]["code"]
    return found


def replica(answer: Answer) -> str:
    """Who answered."""
    return answer.header("x-penstock-replica") or ""


def test_the_file_of_the_readme(start: Start, engines: list[str]) -> None:
    """This file and nothing more serves two vLLMs: the right key gets 200, any other 401, both replicas work."""
    gateway = start(ISSUE % (engines[0], engines[1]))

    async def main() -> None:
        await ready(gateway, 2)
        for key, status in [("sk-demo", 200), ("sk-wrong", 401), ("", 401)]:
            answer = await ask(gateway.port, chat(), key=key)
            assert answer.status == status
            assert status == 200 or code(answer) == "unauthorized"
        for _ in range(30):
            assert (await ask(gateway.port, chat(1), key="sk-demo")).status == 200
        assert (await ask(gateway.port, None, "/health")).status == 200
        assert (await ask(gateway.port, None, "/v1/models")).status == 401

    run(main)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-demo", max_retries=0, timeout=10) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
    stranger = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong", max_retries=0, timeout=10)
    with stranger, pytest.raises(openai.AuthenticationError, match="Missing or invalid API key"):
        stranger.models.list()
    assert "sk-demo" not in gateway.said() + gateway.log()


def test_what_a_key_may_use(start: Start, engines: list[str]) -> None:
    """A key with a list of models gets those, by their aliases too, 403 for any other, and is shown no other; one that
    has expired gets 401."""
    tiny = pool(engines[0], models=("tiny", "large"))
    tiny["replicas"][0]["models"] = {"tiny": "tiny", "large": "tiny"}
    keys = [
        {"name": "some", "key": "sk-some", "models": ["tiny"]},
        {"name": "all", "key": "sk-all", "expires": "2999-12-31"},
        {"name": "old", "key": "sk-old", "expires": "2020-01-01"},
    ]
    gateway = start({"pools": [tiny], "aliases": {"gpt": "tiny"}, "keys": keys})

    async def main() -> None:
        await ready(gateway)
        for key, model, status in [
            ("sk-some", "tiny", 200), ("sk-some", "gpt", 200), ("sk-some", "large", 403), ("sk-some", "none", 403),
            ("sk-all", "large", 200), ("sk-old", "tiny", 401),
        ]:  # fmt: skip
            answer = await ask(gateway.port, chat(1, model=model), key=key)
            assert answer.status == status, (key, model)
        refused = await ask(gateway.port, chat(1, model="large"), key="sk-some")
        assert json.loads(refused.body)["error"]["message"] == "This API key may not use the model 'large'."
        assert b"has expired" in (await ask(gateway.port, chat(1), key="sk-old")).body

    run(main)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-some", max_retries=0, timeout=10) as client:
        assert [model.id for model in client.models.list()] == ["gpt", "tiny"]


def test_a_file_with_mistakes_does_not_start(start: Start) -> None:
    """All mistakes are told with their lines, and the status is 2."""
    gateway = start({"pools": [{"name": "a", "replicas": [{"url": "nonsense"}]}], "lisen": 5})
    assert gateway.wait(20) == 2
    assert "2 mistakes" in gateway.log()
    assert "lisen" in gateway.log()
    assert "pools[0].replicas[0].url" in gateway.log()


def test_a_taken_port_is_told(start: Start, engines: list[str]) -> None:
    """A second gateway at the same address ends with status 1 and says which address and what to do."""
    first = start({"pools": [pool(engines[0])]})
    for option, port in (("--listen", first.port), ("--admin", first.admin_port)):
        second = start({"pools": [pool(engines[0])]}, option, f"127.0.0.1:{port}")
        assert second.wait(20) == 1
        assert f"cannot listen on 127.0.0.1:{port}: " in second.log()
        assert "Choose another address" in second.log()


def test_pools_models_aliases_and_routes(start: Start, engines: list[str]) -> None:
    """Several models in a pool, an alias, and rules by host and by path each lead to the right replica and model."""
    both = pool(engines[0], name="both", models=("large", "small"))
    both["replicas"][0] |= {"models": {"large": "tiny", "small": "tiny"}, "id": "both"}
    other = pool(engines[1], name="other", models=("tiny",))
    other["replicas"][0]["id"] = "other"
    tree: Tree = {
        "pools": [both, other],
        "aliases": {"gpt": "small"},
        "routes": [
            {"host": "*.tenant.example", "pool": "other", "model": "tiny"},
            {"path": "/v1/embeddings", "pool": "other"},
        ],
    }
    gateway = start(tree)

    async def main() -> None:
        await ready(gateway, 2)
        for model, who in [("large", "both"), ("small", "both"), ("gpt", "both"), ("tiny", "other")]:
            answer = await ask(gateway.port, chat(2, model=model))
            assert (answer.status, replica(answer)) == (200, who)
        assert code(await ask(gateway.port, chat(model="huge"))) == "model_not_found"
        answer = await ask(gateway.port, chat(2, model="large"), host="a.tenant.example:8080")
        assert (answer.status, replica(answer)) == (200, "other")
        embed = b'{"model":"tiny","input":"a"}'
        assert replica(await ask(gateway.port, embed, "/v1/embeddings")) == "other"
        assert (await ask(gateway.port, embed.replace(b"tiny", b"large"), "/v1/embeddings")).status == 404
        listed = json.loads((await ask(gateway.port, None, "/v1/models")).body)["data"]
        assert [entry["id"] for entry in listed] == ["gpt", "large", "small", "tiny"]

    run(main)


def test_models_are_discovered(start: Start, engines: list[str]) -> None:
    """Without models in the file, what the replicas list is served and listed."""
    gateway = start(None, "--url", engines[0], "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")

    async def main() -> None:
        await ready(gateway, 1)
        assert (await ask(gateway.port, chat(2))).status == 200
        assert (await ask(gateway.port, chat(2, model="nobody"))).status == 404
        assert b'"tiny"' in (await ask(gateway.port, None, "/v1/models")).body

    run(main)


def test_fallback_to_another_model(start: Start, engines: list[str], tmp_path: Path) -> None:
    """Where a model's own replica is away, its fallback answers, under the name of the model that did."""
    away = Emulators(tmp_path, name="away", model="main")
    with ending(away):
        main = pool(away.urls[0], name="main", models=("main",), queue={"unavailable_wait": "300ms"})
        spare = pool(engines[0], name="spare")
        gateway = start({"pools": [main, spare], "fallback": {"main": ["tiny"]}, "retries": {"backoff": "10ms"}})

        async def asked() -> tuple[int, str]:
            answer = await ask(gateway.port, chat(2, model="main"))
            return answer.status, json.loads(answer.body).get("model", "")

        async def before() -> None:
            await ready(gateway, 2)
            assert await asked() == (200, "main")

        run(before)
        away.kill()
        assert [run(asked) for _ in range(5)] == [(200, "tiny")] * 5


def test_backups_serve_only_while_no_primary_can(start: Start, engines: list[str], tmp_path: Path) -> None:
    """A backup replica gets nothing while the primary works, everything while it is down, and nothing afterwards."""
    primary = Emulators(tmp_path, name="primary")
    with ending(primary):
        tree = pool(primary.urls[0], engines[0], breaker={"open": "300ms", "successes": 1})
        tree["replicas"][0]["id"] = "primary"
        tree["replicas"][1] |= {"id": "backup", "backup": True}
        gateway = start({"pools": [tree]})

        async def asked(*expected: str) -> None:
            answers = [await ask(gateway.port, chat(1)) for _ in range(10)]
            assert {answer.status for answer in answers} == {200}
            assert {replica(answer) for answer in answers} == set(expected)

        async def becomes(state: str) -> None:
            async def so() -> bool:
                return (await states(gateway))["primary"] == state

            await eventually(so, f"a primary that is {state}")

        async def up() -> None:
            await ready(gateway, 2)
            await asked("primary")

        async def down() -> None:
            await asked("backup")
            await becomes("unhealthy")
            await asked("backup")

        async def again() -> None:
            await becomes("healthy")
            await asked("primary")

        run(up)
        port = primary.ports[0]
        primary.kill()
        run(down)
        with ending(Emulators(tmp_path, name="again", port=port)):
            run(again, 20.0)


def test_ids_reach_the_engine_once(start: Start, engines: list[str]) -> None:
    """A call with an id is found at exactly one engine, finished, under that id; and the id comes back."""
    gateway = start({"pools": [pool(*engines[:3])]})

    async def main() -> None:
        await ready(gateway, 3)
        ids = [unique() for _ in range(12)]
        for id in ids:
            answer = await ask(gateway.port, chat(2), id=id)
            assert answer.header("x-request-id") == id
        calls = await seen(*[int(url.rpartition(":")[2]) for url in engines[:3]])
        assert {calls[id] for id in ids} == {"finished"}

    run(main)
