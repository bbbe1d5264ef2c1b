"""The half of the Ray actuator that speaks with Ray: a process of its own, asked by lines of JSON on standard input.

Ray's client holds threads, a hundred megabytes, and calls that may block for minutes: here they can do so, and be
killed. What it starts are detached actors, so they outlive this process and the gateway. Each runs one process on its
node, under a guard that ends it when the actor is gone, however it went. Run as a program, so that Ray sends the
actor's class to the nodes by value: they need not have this package.
"""

import contextlib
import importlib
import json
import os
import sys
from typing import IO, Any
from urllib.parse import quote, unquote

GUARD = """
import os, signal, subprocess, sys, threading
guard = os.fork()
if guard:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(guard, signal.SIGTERM))
    status = os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1])
    os._exit(status if status >= 0 else 128 - status)
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
def until_alone():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=until_alone, daemon=True).start()
status = child.wait()
os._exit(status if status >= 0 else 128 - status)
"""
"""Runs one program; kills it, and all of its session, when its own standard input ends. It stands behind a process that
hands on signals and status, because Ray kills an actor's own children with the actor, and no others: a guard that is
killed guards nobody."""
LOOK_S = 5.0
"""For all actors to answer a look; who does not is shown as it was last seen."""
BEGUN_S = 0.5
"""For an actor to begin; one that takes longer is looked at later."""
STOP_S = 2.0
"""For an actor to begin to stop; else it is killed at once."""

Json = dict[str, Any]


class Replica:
    """The actor: one process on the node that Ray has chosen."""

    def __init__(self, words: list[str], env: dict[str, str], stop_s: float) -> None:
        import importlib

        self._stop_s = stop_s
        self._end_at: float | None = None
        self._last = ""
        self.host: str = importlib.import_module("ray").util.get_node_ip_address()
        self.port = self._free_port()
        places = {"{port}": str(self.port), "{host}": self.host}
        self._begin(
            [self._filled(word, places) for word in words],
            {name: self._filled(value, places) for name, value in env.items()},
        )

    @staticmethod
    def _filled(text: str, places: dict[str, str]) -> str:
        for place, value in places.items():
            text = text.replace(place, value)
        return text

    def _free_port(self) -> int:
        import socket

        with socket.socket() as probe:
            probe.bind((self.host, 0))
            port: int = probe.getsockname()[1]
            return port

    def _begin(self, words: list[str], env: dict[str, str]) -> None:
        import os
        import subprocess
        import sys
        import threading

        self._process = subprocess.Popen(
            [sys.executable, "-c", GUARD, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **env}, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._read_on, daemon=True).start()

    def _read_on(self) -> None:
        """Its output becomes the actor's own, which Ray keeps, and cuts where it grows; the last line is remembered."""
        import sys

        assert self._process.stdout is not None
        while line := self._process.stdout.readline(64 << 10):
            text = line.decode(errors="replace").rstrip()
            self._last = text[-200:] or self._last
            print(text, file=sys.stdout, flush=True)  # noqa: T201

    def seen(self) -> Json:
        """Where it serves, and what it does."""
        import os
        import signal
        import time

        status = self._process.poll()
        if status is None and self._end_at is not None and time.monotonic() >= self._end_at:
            os.killpg(self._process.pid, signal.SIGKILL)
        return {"url": f"http://{self.host}:{self.port}", "stopping": self._end_at is not None, "status": status,
                "last": self._last}  # fmt: skip

    def stop(self) -> None:
        """End it, gracefully at first."""
        import time

        if self._end_at is None:
            self._end_at = time.monotonic() + self._stop_s
            self._process.terminate()


class Agent:
    """What the actuator asks for, done with Ray."""

    def __init__(self, ray: Any, spec: Json) -> None:
        self._ray = ray
        self._spec = spec
        self._known: dict[str, Json] = {}
        """Replica -> what its actor last said."""
        self._purchases: dict[str, str] = {}

    def _handles(self) -> dict[str, Any]:
        """Replica -> its actor. An actor's name is how it is had, a slash, and the replica's name in quotes."""
        found: dict[str, Any] = {}
        for name in sorted(self._ray.util.list_named_actors()):
            with contextlib.suppress(ValueError):  # it went meanwhile
                purchase, _, quoted = name.partition("/")
                found[unquote(quoted)] = self._ray.get_actor(name)
                self._purchases[unquote(quoted)] = purchase
        return found

    def look(self) -> list[Json]:
        """All actors of the pool."""
        handles = self._handles()
        self._known = {unit: said for unit, said in self._known.items() if unit in handles}
        self._purchases = {unit: purchase for unit, purchase in self._purchases.items() if unit in handles}
        asked = {handle.seen.remote(): unit for unit, handle in handles.items()}
        done = self._ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_S)[0] if asked else []
        for reference in done:
            unit = asked[reference]
            try:
                self._known[unit] = self._ray.get(reference)
            except self._ray.exceptions.ActorUnavailableError:
                pass  # for the moment: it is shown as it was last seen
            except self._ray.exceptions.RayError as error:
                self._known[unit] = {"lost": f"its actor is gone: {str(error).strip().splitlines()[0]}"[:300]}
        shown = [self._shown(unit, handles[unit]) for unit in handles]
        return [{**one, "purchase": self._purchases[one["id"]]} for one in shown if one is not None]

    def _shown(self, unit: str, handle: Any) -> Json | None:
        said = self._known.get(unit)
        if said is None:
            return {"id": unit, "state": "starting"}  # no node has had room for it yet
        if "lost" in said:
            return {"id": unit, "state": "ended", "detail": said["lost"]}
        if said["status"] is None:
            return {"id": unit, "state": "stopping" if said["stopping"] else "running", "url": said["url"]}
        if said["stopping"]:
            self._ray.kill(handle)
            return None
        last = f"; its output ends with: {said['last']}" if said["last"] else ""
        detail = f"its process ended with status {said['status']}{last}"
        return {"id": unit, "state": "ended", "url": said["url"], "detail": detail}

    def start(self, unit: str, purchase: str, words: list[str], env: dict[str, str]) -> None:
        """One more actor."""
        if unit in self._handles():
            return
        wants = self._spec
        name = f"{purchase}/{quote(unit, safe='')}"
        resources = {**wants["resources"], **(wants["spot_resources"] if purchase == "spot" else {})}
        made = self._ray.remote(Replica).options(
            name=name, lifetime="detached", max_restarts=0, num_cpus=wants["cpus"], num_gpus=wants["gpus"],
            resources=resources, scheduling_strategy=wants["placement"],
        )  # fmt: skip
        handle = made.remote(words, env, wants["stop_s"])
        # one whose order is on its way to Ray when this process ends is lost; and one that fails at once is told
        asked = handle.seen.remote()
        if self._ray.wait([asked], timeout=BEGUN_S)[0]:
            self._ray.get(asked)

    def stop(self, unit: str) -> None:
        """End one; at once where it has ended, has not begun, or does not answer."""
        handle = self._handles().get(unit)
        if handle is None:
            return
        reference = handle.stop.remote()
        ended = self._known.get(unit, {}).get("status") is not None
        if ended or not self._ray.wait([reference], timeout=STOP_S)[0]:
            self._ray.kill(handle)
            self._known.pop(unit, None)

    def do(self, asked: Json) -> Any:
        """One question."""
        if asked["do"] == "start":
            return self.start(asked["unit"], asked["purchase"], asked["words"], asked["env"])
        return self.stop(asked["unit"]) if asked["do"] == "stop" else self.look()


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer until the questions end. The first line says which cluster."""

    def tell(answer: Json) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    spec: Json = json.loads(questions.readline())
    try:
        ray = importlib.import_module("ray")
        ray.init(address=spec["address"], namespace=spec["namespace"], log_to_driver=False, logging_level="ERROR")
    except ImportError:
        tell({"error": "ray is not installed: install `penstock[ray]`"})
        return
    except Exception as wrong:  # ray raises RuntimeError, ConnectionError, ValueError and its own
        tell({"error": f"no way to the Ray cluster: {wrong}"[:300]})
        return
    tell({"is": None})
    agent = Agent(ray, spec)
    for line in questions:
        try:
            tell({"is": agent.do(json.loads(line))})
        except Exception as wrong:  # told, and the next question is another one
            tell({"error": f"{type(wrong).__name__}: {wrong}"[:300]})


def main() -> None:
    """Questions on standard input; answers on what was standard output, which Ray may write to as it likes now."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
