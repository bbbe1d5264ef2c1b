"""The process that speaks with Ray, as far as it can be tried without one; the contract suite tries the rest."""

import io
import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from penstock.adapters.actuators.kernel import lives, mark_of, session
from penstock.adapters.actuators.ray_agent import GUARD, Replica, serve
from tests.adapters.actuators.programs import until

pytestmark = pytest.mark.slow


def guarded(program: str) -> "subprocess.Popen[bytes]":
    """A program under the guard."""
    return subprocess.Popen(
        [sys.executable, "-c", GUARD, sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def test_the_guard_tells_how_it_ended() -> None:
    """Its status is the program's own, or 128 and the signal, as a shell says it."""
    for program, status in [
        ("import sys; sys.exit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ]:
        with guarded(program) as guard:
            assert guard.wait(20) == status


def test_the_guard_hands_on_the_wish_to_end() -> None:
    """SIGTERM reaches the program, which may finish what it has."""
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)));"
        " print('up', flush=True); time.sleep(60)"
    )
    with guarded(program) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == b"up\n"
        guard.terminate()
        assert guard.stdout.readline() == b"bye\n"
        assert guard.wait(20) == 0


def test_without_its_actor_nothing_is_left() -> None:
    """When the other end of its input is gone, however that went, the program and its children are killed."""
    child = "import time; time.sleep(60)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with guarded(program) as guard:
        leader = mark_of(guard.pid)
        assert leader is not None
        until(lambda: len(session(leader)) == 4, "all four")
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(20) == -signal.SIGKILL
        until(lambda: not session(leader), "their end")


def test_nothing_is_left_where_ray_kills_what_it_sees() -> None:
    """Ray kills an actor's own children with the actor: the program goes all the same."""
    with guarded("import time; time.sleep(60)") as guard:
        leader = mark_of(guard.pid)
        assert leader is not None
        until(lambda: len(session(leader)) == 3, "all three")
        others = [mark for mark in session(leader) if mark != leader]
        guard.kill()
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(20)
        until(lambda: not any(lives(mark) for mark in others), "their end")


def test_what_an_actor_runs() -> None:
    """Places are filled in and other braces stay."""
    places = {"{port}": "80", "{host}": "10.0.0.1"}
    assert Replica._filled("{host}:{port} {other}", places) == "10.0.0.1:80 {other}"


def said(*questions: Any) -> list[Any]:
    """All answers to these."""
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(one) + "\n" for one in questions)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed it is told what to install."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    assert said({"address": "auto"}, {"do": "look"}) == [{"error": "ray is not installed: install `penstock[ray]`"}]
