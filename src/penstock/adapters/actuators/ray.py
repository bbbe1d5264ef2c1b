"""The actuator that runs replicas as processes on the nodes of a Ray cluster [A7].

Each is a detached actor, by its name in a namespace of the pool's, so what runs outlives the gateway and is found again
by asking Ray: nothing is remembered here. Ray is spoken to by a process beside the gateway (`ray_agent`), asked by one
thread, one thing at a time; where it does not answer in time it is killed, and the next question begins another.
"""

import asyncio
import contextlib
import json
import select
import shlex
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct, field

from penstock.adapters.actuators import ray_agent
from penstock.base.nouns import Purchase, Unit
from penstock.base.units import Seconds

ANSWER_S = 20.0
"""For one answer, once the cluster was reached."""
LINE_BYTES = 4 << 20

PROGRAM = (sys.executable, "-m", ray_agent.__name__)

Result = TypeVar("Result")


def _doc(text: str) -> Meta:
    return Meta(description=text)


class RaySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ray", tag_field="kind"):
    """Replicas are processes on the nodes of a Ray cluster, each held by an actor. They outlive the gateway."""

    command: Annotated[
        str,
        Meta(min_length=1),
        _doc(
            "what to run, in words as a shell splits them, without a shell. {host} and {port} are where it must listen,"
            " on the node that Ray has chosen; {unit} is its name"
        ),
    ]
    env: Annotated[
        dict[str, str], _doc("variables beside those of Ray's workers; {host}, {port} and {unit} as above")
    ] = field(default_factory=dict)
    address: Annotated[str, _doc("host:port of the cluster's head; auto: the cluster that this machine belongs to")] = (
        "auto"
    )
    cpus: Annotated[float, Meta(ge=0), _doc("CPUs that Ray sets aside for each")] = 1.0
    gpus: Annotated[
        float,
        Meta(ge=0),
        _doc("GPUs that Ray sets aside for each; it tells the process which, by CUDA_VISIBLE_DEVICES"),
    ] = 0.0
    resources: Annotated[
        dict[str, float], _doc("other resources of Ray's that each needs, like {accelerator_type:H100: 0.001}")
    ] = field(default_factory=dict)
    spot_resources: Annotated[
        dict[str, float],
        _doc("what spot replicas need beyond that, to come to stand on spot nodes, like {spot: 0.001}"),
    ] = field(default_factory=dict)
    placement: Annotated[
        Literal["SPREAD", "DEFAULT"], _doc("SPREAD: over as many nodes as there are; DEFAULT: Ray packs them")
    ] = "SPREAD"
    directory: Annotated[
        str, _doc("where it is kept what the pool has spent, for `max_monthly_cost`; relative to the gateway's folder")
    ] = ".penstock"
    stop_s: Annotated[Seconds, _doc("from SIGTERM to SIGKILL")] = field(default=30.0, name="stop")
    connect_s: Annotated[Seconds, _doc("to reach the cluster")] = field(default=60.0, name="connect")


class Agent:
    """The process that speaks with Ray. Its methods are called by one thread at a time."""

    def __init__(self, spec: RaySpec, pool: str, program: tuple[str, ...] = PROGRAM) -> None:
        self.spec = spec
        self._pool = pool
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._held = b""
        self._closed = False

    def ask(self, question: dict[str, Any]) -> Any:
        """The answer. Raises OSError."""
        if self._process is None or self._process.poll() is not None:
            self._begin()
        return self._told(question, ANSWER_S)

    def _begin(self) -> None:
        self.end()
        if self._closed:
            raise OSError("it is closed")
        spec = self.spec
        self._process = subprocess.Popen(
            self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._told(
            {
                "address": spec.address, "namespace": f"penstock-{quote(self._pool, safe='')}", "cpus": spec.cpus,
                "gpus": spec.gpus, "resources": spec.resources, "spot_resources": spec.spot_resources,
                "placement": spec.placement, "stop_s": spec.stop_s,
            },
            spec.connect_s,
        )  # fmt: skip

    def _told(self, question: dict[str, Any], within_s: float) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._line(within_s))
        except (OSError, ValueError) as wrong:
            self.end()
            raise OSError(f"no answer of Ray's: {str(wrong) or 'it ended'}") from None
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["is"]

    def _line(self, within_s: float) -> bytes:
        """Raises OSError."""
        assert self._process is not None
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        while b"\n" not in self._held:
            if not select.select([handle], [], [], within_s)[0]:
                raise TimeoutError(f"none within {within_s:g} s")
            part = self._process.stdout.read1(64 << 10)  # type: ignore[attr-defined]
            if not part or len(self._held) > LINE_BYTES:
                raise OSError("it ended")
            self._held += part
        line, _, self._held = self._held.partition(b"\n")
        return line

    def close(self) -> None:
        """Ask no more, from any thread: who waits for an answer waits no longer."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Let go of Ray; what runs goes on."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not sent yet
                        pipe.close()
            self._process.wait()
        self._process, self._held = None, b""


class RayActuator:
    """See `base.ports.Actuator`."""

    def __init__(self, spec: RaySpec, pool: str) -> None:
        self.agent = Agent(spec, pool)
        self._pool = pool
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-ray")

    def respec(self, spec: RaySpec) -> bool:
        """New settings, for what is started from now on; whether all hold: the cluster and what it sets aside stay."""
        held = self.agent.spec
        self.agent.spec = msgspec.structs.replace(held, command=spec.command, env=spec.env)
        return self.agent.spec == spec

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """All actors of the pool."""
        async with asyncio.timeout(timeout_s):
            shown = await self._do(lambda: self.agent.ask({"do": "look"}))
        return tuple(msgspec.convert(one, Unit) for one in shown)

    async def start(self, unit: str, purchase: Purchase = "on_demand") -> None:
        """One more actor, wherever Ray has room."""
        spec = self.agent.spec
        places = {"{unit}": unit, "{pool}": self._pool, "{purchase}": purchase}
        words = [_filled(word, places) for word in shlex.split(spec.command)]
        env = {name: _filled(value, places) for name, value in spec.env.items()}
        order = {"do": "start", "unit": unit, "purchase": purchase, "words": words, "env": env}
        await self._do(lambda: self.agent.ask(order))

    async def stop(self, unit: str) -> None:
        """End the process of an actor, and then the actor."""
        await self._do(lambda: self.agent.ask({"do": "stop", "unit": unit}))

    async def drain(self, unit: str, drain: bool) -> None:
        """Ray ends no actor to make them fewer."""

    async def _do(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self, end: bool = False) -> None:
        """Let go of Ray; what runs goes on."""
        self.agent.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.agent.end()


def _filled(text: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        text = text.replace(place, value)
    return text
