"""The actuator's own half: questions to a process that may be silent, talk nonsense, or be gone."""

import asyncio
import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.actuators import ray
from penstock.adapters.actuators.kernel import PROC
from penstock.adapters.actuators.ray import Agent, RayActuator, RaySpec
from penstock.adapters.actuators.ray_agent import GUARD
from penstock.base.nouns import Unit
from tests.adapters.actuators.programs import command
from tests.helpers import ray_cluster
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

SPEC = RaySpec(command="serve --port {port} --name '{unit} of {pool}'", env={"NAME": "{unit}"}, connect_s=20.0)
OPENS = "import json, sys, time\ndef tell(it): print(json.dumps(it), flush=True)\nspec = input()\ntell({'is': None})\n"


def agent(program: str, spec: RaySpec = SPEC) -> Agent:
    """One whose other half is this program."""
    return Agent(spec, "p", (sys.executable, "-c", program))


def actuator(program: str) -> RayActuator:
    """One over such an agent."""
    made = RayActuator(SPEC, "p")
    made.agent = agent(program)
    return made


def test_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line says which cluster and what each replica needs; a start says what to run."""
    echo = "import json, sys\nfirst = input()\nprint(json.dumps({'is': None}), flush=True)\n"
    echo += "for line in sys.stdin: print(json.dumps({'is': [json.loads(first), json.loads(line)]}), flush=True)"
    made = actuator(echo)

    async def main() -> None:
        told: list[list[dict[str, Any]]] = []
        ask = made.agent.ask
        monkeypatch.setattr(made.agent, "ask", lambda question: told.append(ask(question)))
        await made.start("p-1")
        ((first, question),) = told
        assert first["namespace"] == "penstock-p"
        assert (first["address"], first["cpus"], first["gpus"], first["placement"]) == ("auto", 1.0, 0.0, "SPREAD")
        words = ["serve", "--port", "{port}", "--name", "p-1 of p"]
        assert question == {
            "do": "start",
            "unit": "p-1",
            "purchase": "on_demand",
            "words": words,
            "env": {"NAME": "p-1"},
        }
        made.close()

    run(main)


def test_what_is_shown() -> None:
    """Answers become replicas."""
    shows = "tell({'is': [{'id': 'p-1', 'state': 'running', 'url': 'http://a:1'}, {'id': 'p-2', 'state': 'starting'}]})"
    made = actuator(OPENS + f"for line in sys.stdin: {shows}")

    async def main() -> None:
        assert await made.look(20.0) == (
            Unit(id="p-1", state="running", url="http://a:1"),
            Unit(id="p-2", state="starting"),
        )
        made.close()

    run(main)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("input(); print('[')", "no answer of Ray's"),
        ("input()", "no answer of Ray's: it ended"),
        ('input(); print(\'{"error": "no way to the Ray cluster: none is there"}\')', "none is there"),
        (OPENS + "input(); tell({'error': 'ValueError: full'}); input()", "ValueError: full"),
    ],
)
def test_failures_are_told(program: str, said: str) -> None:
    """Whatever it says or does instead is an OSError."""
    made = agent(program)
    with pytest.raises(OSError, match=said):
        made.ask({"do": "look"})
    made.end()


def test_one_that_is_silent_is_killed_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs its time only, and the next question is asked of another one."""
    monkeypatch.setattr(ray, "ANSWER_S", 0.05)
    made = agent(OPENS + "time.sleep(60)")
    with pytest.raises(OSError, match=r"none within 0\.05 s"):
        made.ask({"do": "look"})
    assert made._process is None
    monkeypatch.setattr(ray, "ANSWER_S", 20.0)
    made._program = (sys.executable, "-c", OPENS + "for line in sys.stdin: tell({'is': []})")
    assert made.ask({"do": "look"}) == []
    made.end()


def test_a_look_ends_with_its_time_and_closing_waits_for_nobody() -> None:
    """While Ray is silent looks give up, and closing ends the question that hangs."""
    made = actuator(OPENS + "time.sleep(60)")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await made.look(0.05)
        order = asyncio.get_running_loop().create_task(made.stop("p-1"))
        await asyncio.sleep(0)  # it waits behind the look
        made.close()
        assert made.agent._process is None
        with pytest.raises((OSError, asyncio.CancelledError)):
            await order

    run(main)


@pytest.mark.skipif(not ray_cluster.installed(), reason="ray is not installed: pip install 'penstock[ray]'")
def test_a_node_is_lost(tmp_path: Path) -> None:
    """Replicas are spread over the nodes: with one node some go, with their processes, and others stay as they are."""
    marker = str(tmp_path)
    spec = RaySpec(command=f"{command()} {shlex.quote(marker)}", address=ray_cluster.address(), cpus=0.1)
    made = RayActuator(spec, f"lost {tmp_path.name}")
    names = {f"p-{number}" for number in range(6)}

    def living() -> int:
        found = 0
        for path in PROC.glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it went meanwhile
                words = path.read_bytes().split(b"\0")
                found += marker.encode() in words and GUARD.encode() not in words
        return found

    async def shown(*states: str) -> set[str]:
        return {unit.id for unit in await made.look(20.0) if unit.state in states}

    async def main() -> None:
        for name in sorted(names):
            await made.start(name)
        while await shown("running") != names or living() != len(names):
            pass
        ray_cluster.lose_a_node()
        left = names
        while left == names or living() != len(left):
            left = await shown("running")
        assert left
        assert len(left) < len(names)
        for name in sorted(names):
            await made.stop(name)
        while await shown("running", "stopping", "ended", "starting"):
            pass
        made.close()

    run(main, 55.0)


def test_new_settings() -> None:
    """What to run holds from now on; what Ray was told does not change."""
    made = actuator(OPENS)
    assert made.respec(RaySpec(command="other", env={}, connect_s=20.0))
    assert made.agent.spec.command == "other"
    assert not made.respec(RaySpec(command="other", gpus=1.0, connect_s=20.0))
    assert made.agent.spec.gpus == 0.0
    made.close()
