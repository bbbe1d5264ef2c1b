"""The main job from nothing: `penstock serve` without a file, asked by curl, by OpenAI's client, and by `load`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.helpers.processes import Gateway, Process, until
from tests.helpers.traffic import ask, at_rest, chat, ready, said, states
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demo, ready. At its end it must be at rest, and take its emulators with it."""
    gateway = Gateway(tmp_path_factory.mktemp("demo"), None, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    try:
        run(lambda: ready(gateway, 3), 30.0)
        ports = run(lambda: emulated(gateway))
        yield gateway
        run(lambda: at_rest(gateway))
        assert gateway.stop() == 0, gateway.log()
        assert not any(map(listens, ports))
    finally:
        gateway.stop()


async def emulated(gateway: Gateway) -> list[int]:
    """Ports of the emulated replicas."""
    return [int(view["url"].rpartition(":")[2]) for view in await said(gateway.admin_port, "/admin/fleet")]


def listens(port: int) -> bool:
    """Whether anybody listens there: a row in state 0A of /proc/net/tcp."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


@pytest.fixture
def client(demo: Gateway) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="sk-any", max_retries=0, timeout=20) as made:
        yield made


def test_it_says_what_to_try(demo: Gateway) -> None:
    """The first words are where it serves and commands to try, with the ports that hold."""
    text = demo.said()
    assert f"serves on {demo.url}/v1" in text
    assert f"curl -N {demo.url}/v1/chat/completions" in text
    assert f"load --url {demo.url}" in text
    assert "up to six under load" in text


def test_curl_as_printed(demo: Gateway) -> None:
    """The printed curl command, run as it stands, streams an answer that ends with [DONE]."""
    (line,) = [line for line in demo.said().splitlines() if "curl -N" in line]
    done = subprocess.run(line + " -s --max-time 20", shell=True, capture_output=True, timeout=30, check=True)
    events = done.stdout.decode().strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert len(events) > 20


def test_plain_http(demo: Gateway) -> None:
    """Chat, completions, embeddings, models, health and readiness answer over plain HTTP, with the replica's name."""

    async def main() -> None:
        got = await ask(demo.port, chat(5, model="demo"))
        assert (got.status, json.loads(got.body)["usage"]["completion_tokens"]) == (200, 5)
        assert (got.header("x-penstock-replica") or "").startswith("demo-")
        got = await ask(demo.port, b'{"model":"demo","prompt":"Hello","max_tokens":3}', "/v1/completions")
        assert json.loads(got.body)["choices"][0]["finish_reason"] == "length"
        got = await ask(demo.port, b'{"model":"demo","input":["a","b"]}', "/v1/embeddings")
        assert len(json.loads(got.body)["data"]) == 2
        assert [model["id"] for model in (await said(demo.port, "/v1/models"))["data"]] == ["demo"]
        assert (await said(demo.port, "/health"), await said(demo.port, "/ready")) == ({"status": "ok"},) * 2
        got = await ask(demo.port, chat(5, model="nobody"))
        assert (got.status, json.loads(got.body)["error"]["code"]) == (404, "model_not_found")

    run(main)


def test_openai_chat(client: openai.OpenAI) -> None:
    """Chat gives the same text streamed and not, with the usage asked for, and a finish reason."""
    asked = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    parts = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens == 12
    assert whole.choices[0].finish_reason == "length"
    bare = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    assert all(part.usage is None and part.choices for part in bare), "nobody asked for usage"


def test_openai_completions(client: openai.OpenAI) -> None:
    """Completions give the same text streamed and not."""
    whole = client.completions.create(model="demo", prompt="Once upon", max_tokens=8)
    parts = client.completions.create(model="demo", prompt="Once upon", max_tokens=8, stream=True)
    assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text


def test_openai_embeddings_and_models(client: openai.OpenAI) -> None:
    """Embeddings come in the client's packed form, and models can be listed and looked up."""
    made = client.embeddings.create(model="demo", input=["one", "two"])
    assert [len(entry.embedding) for entry in made.data] == [64, 64]
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"


def test_openai_errors(client: openai.OpenAI) -> None:
    """An unknown model is the client's own NotFoundError, and a wrong argument its BadRequestError, with our words."""
    with pytest.raises(openai.NotFoundError, match="does not exist here"):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}], max_tokens=-1)


def test_load_replays_the_shipped_trace(demo: Gateway, tmp_path: Path) -> None:
    """`penstock load` with a limit ends in a table and JSON, without an error, over all three replicas."""
    words = ["load", "--url", demo.url, "--limit", "60", "--speed", "20", "--max-output-tokens", "20"]
    words += ["--max-prompt-tokens", "300", "--fail-on-error", "--json", str(tmp_path / "report.json"), "--seed", "1"]
    load = Process(tmp_path, "load", *words)
    try:
        assert load.wait(40) == 0, load.said() + load.log()
    finally:
        load.stop()
    assert "TTFT" in load.said()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["ok"], report["failed"], report["not_sent"]) == (60, 0, 0)
    assert {entry["replica"] for entry in report["replicas"]} == {f"demo-{number}" for number in (1, 2, 3)}


def test_the_fleet_is_told(demo: Gateway) -> None:
    """The admin API tells three healthy replicas."""
    assert run(lambda: states(demo)) == {f"demo-{number}": "healthy" for number in (1, 2, 3)}


def test_killing_the_gateway_ends_its_emulators(tmp_path: Path) -> None:
    """Where the gateway dies without a word, its emulators do not outlive it."""
    gateway = Gateway(tmp_path, None, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    try:
        run(lambda: ready(gateway, 3), 30.0)
        ports = run(lambda: emulated(gateway))
        assert all(map(listens, ports))
        gateway.kill()
        until(lambda: not any(map(listens, ports)), 15.0, lambda: f"nobody to listen on {ports}")
    finally:
        gateway.stop()


def test_module_and_script_are_the_same(demo: Gateway) -> None:
    """The installed script and `python -m penstock` are one program."""
    script = Path(sys.executable).with_name("penstock")
    if not script.exists():
        pytest.skip("not installed as a script here")
    shown = [
        subprocess.run([*words, "--version"], capture_output=True, timeout=20, check=True, env=dict(os.environ)).stdout
        for words in ([str(script)], [sys.executable, "-m", "penstock"])
    ]
    assert shown[0] == shown[1]
