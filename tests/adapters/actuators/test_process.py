"""Replicas as processes: started once, ended for sure, found again after whatever happened to the gateway."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.adapters.actuators import kernel
from penstock.adapters.actuators.kernel import Mark
from penstock.adapters.actuators.process import VARIABLE, ProcessActuator, Processes, ProcessSpec, filled, left_in
from penstock.base.nouns import Unit
from tests.adapters.actuators.programs import FAILS, PARENT, STUBBORN, WAITS, command, end_all, processes, spec, until
from tests.helpers.wire import run

pytestmark = pytest.mark.slow


def one(made: Processes) -> Unit:
    """The only one that is there."""
    (unit,) = made.look()
    return unit


def says(made: Processes, text: str, unit: str = "p-1") -> None:
    """Wait until a replica's log says something."""
    until(lambda: text in made.log_of(unit).read_text(), text)


def mark(made: Processes, unit: str = "p-1") -> Mark:
    """A replica's process."""
    entry = made.ledger.units[unit]
    return Mark(entry.pid, entry.started)


def test_what_is_filled_in(tmp_path: Path) -> None:
    """The command and its environment get port, slot and name; other braces stay; slots are used again."""
    assert filled('{"a": 1} {port}', {"{port}": "80"}) == '{"a": 1} 80'
    program = "import os, sys; print(sys.argv[1:], os.environ['CARD'], os.environ.get('PENSTOCK_X'), flush=True)"
    given = spec(tmp_path, program + "; import time; time.sleep(60)", env={"CARD": "gpu{slot}"}, nice=3)
    os.environ["PENSTOCK_X"] = "ours"
    try:
        with processes(given) as made:
            made.start("p-1")
            made.start("p-2")
            entry = made.ledger.units["p-1"]
            says(made, f"['{entry.port}'] gpu0 None")
            says(made, "gpu1 None", "p-2")
            assert os.getpriority(os.PRIO_PROCESS, entry.pid) >= 3
            assert made.look()[0] == Unit(id="p-1", state="running", url=f"http://127.0.0.1:{entry.port}")
            made.stop("p-1")
            until(lambda: len(made.look()) == 1, "its end")
            made.start("p-3")
            says(made, "gpu0 None", "p-3")
    finally:
        del os.environ["PENSTOCK_X"]


def test_what_it_may_use(tmp_path: Path) -> None:
    """It runs on its slot's CPUs from its first moment, with so many open files; the gateway keeps its own."""
    program = (
        "import os, resource, time; print(sorted(os.sched_getaffinity(0)),"
        " resource.getrlimit(resource.RLIMIT_NOFILE), flush=True); time.sleep(60)"
    )
    ours = os.sched_getaffinity(0)
    first, last = str(min(ours)), str(max(ours))
    with processes(spec(tmp_path, program, cpus=(first, last), open_files=99)) as made:
        made.start("p-1")
        made.start("p-2")
        says(made, f"[{first}]")
        says(made, f"[{last}]", "p-2")
        assert resource.prlimit(mark(made).pid, resource.RLIMIT_NOFILE) == (99, 99)
        assert os.sched_getaffinity(0) == ours


def test_cpus_that_are_not_there(tmp_path: Path) -> None:
    """A start that cannot have its CPUs raises, and leaves nothing behind."""
    with processes(spec(tmp_path, cpus=("9999",))) as made:
        with pytest.raises(OSError, match="none of the CPUs 9999"):
            made.start("p-1")
        assert made.look() == ()


def test_one_that_holds_too_much_is_ended(tmp_path: Path) -> None:
    """More memory than it may have, its children's counted in, ends a replica, and says how much it was."""
    child = "x = bytes([1]) * (64 << 20); import time; time.sleep(60)"
    greedy = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with processes(spec(tmp_path, greedy, memory_bytes=48 << 20)) as made:
        made.start("p-1")
        leader = mark(made)
        until(lambda: one(made).state == "ended", "its end")
        assert one(made).detail.endswith("more than the 48 MiB that they may")
        assert not kernel.session(leader)
        made.stop("p-1")
        assert made.look() == ()


def test_one_that_ends_by_itself_tells_why(tmp_path: Path) -> None:
    """Its exit status and its last words are told until it is forgotten."""
    with processes(spec(tmp_path, FAILS)) as made:
        made.start("p-1")
        until(lambda: one(made).state == "ended", "its end")
        assert one(made).detail == "its process ended with status 3; its log ends with: no such model"
        made.stop("p-1")
        assert made.look() == ()


def test_an_end_by_a_real_time_signal_is_told(tmp_path: Path) -> None:
    """Those between the first and the last have no name: their number is told."""
    with processes(spec(tmp_path, WAITS)) as made:
        made.start("p-1")
        os.kill(mark(made).pid, signal.SIGRTMIN + 3)
        until(lambda: one(made).state == "ended", "its end")
        assert one(made).detail.startswith(f"its process was ended by signal {signal.SIGRTMIN + 3}")


def test_a_kill_is_noticed(tmp_path: Path) -> None:
    """One that somebody kills is seen to have ended, by which signal, and its children go with it."""
    with processes(spec(tmp_path, PARENT)) as made:
        made.start("p-1")
        leader = mark(made)
        until(lambda: len(kernel.session(leader)) == 2, "its child")
        os.kill(leader.pid, signal.SIGKILL)
        until(lambda: one(made).state == "ended", "its end")
        assert one(made).detail.startswith("its process was ended by SIGKILL")
        until(lambda: not kernel.session(leader), "its child's end")


def test_one_that_will_not_end_is_made_to(tmp_path: Path) -> None:
    """After SIGTERM comes SIGKILL, when its time is over and not before."""
    with processes(spec(tmp_path, STUBBORN, stop_s=0.3)) as made:
        made.start("p-1")
        says(made, "up")
        made.stop("p-1")
        made.stop("p-1")
        assert one(made).state == "stopping"
        until(lambda: not made.look(), "its end")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """A start that fails raises, and leaves nothing behind."""
    given = ProcessSpec(command="/no/such/program {port}", directory=str(tmp_path))
    with processes(given) as made:
        with pytest.raises(FileNotFoundError):
            made.start("p-1")
        assert made.look() == ()


def test_the_next_gateway_finds_them(tmp_path: Path) -> None:
    """What runs goes on without its gateway; the next one finds it at the same address, and starts none twice."""
    first = Processes(spec(tmp_path), "p")
    first.start("p-1")
    before, process = one(first), mark(first)
    first.close(False)
    with processes(spec(tmp_path, stop_s=5.0)) as second:
        assert one(second) == before
        second.start("p-1")
        assert mark(second) == process
        second.stop("p-1")
        until(lambda: not second.look(), "its end")
        assert not kernel.lives(process)


def test_one_that_was_stopping_goes_on_stopping(tmp_path: Path) -> None:
    """A gateway that dies while a replica stops leaves it to the next one to end it."""
    first = Processes(spec(tmp_path, STUBBORN), "p")
    first.start("p-1")
    says(first, "up")
    first.stop("p-1")
    first.close(False)
    with processes(spec(tmp_path, STUBBORN, stop_s=0.1)) as second:
        assert one(second).state == "stopping"
        until(lambda: not second.look(), "its end")


def test_a_gateway_that_dies_before_it_knows_the_number(tmp_path: Path) -> None:
    """Written down, begun, and then nothing: the process is found by its token, and one that never began is nobody."""
    first = Processes(spec(tmp_path), "p")
    first.start("p-1")
    process = mark(first)
    says(first, "port")
    for unit in ("p-1", "p-2"):
        first.ledger.units[unit] = type(first.ledger.units["p-1"])(
            port=9, slot=1, token=first.ledger.units["p-1"].token if unit == "p-1" else "nobody's"
        )
    first.ledger.save()
    first.close(False)
    with processes(spec(tmp_path)) as second:
        assert [unit.id for unit in second.look()] == ["p-1"]
        assert mark(second) == process


def test_a_log_is_cut_and_old_ones_go(tmp_path: Path) -> None:
    """A log that has grown too long keeps its end beside itself and begins anew; few logs of the dead are kept."""
    noisy = "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)"
    with processes(spec(tmp_path, noisy, log_bytes=2000, logs=1)) as made:
        made.start("p-1")
        until(lambda: made.look() and made.log_of("p-1").with_suffix(".log.1").exists(), "a cut")
        until(lambda: made.log_of("p-1").stat().st_size > 0, "more of it")
        assert made.log_of("p-1").with_suffix(".log.1").stat().st_size <= 2000
        for number in range(3):
            (made.folder / f"old-{number}.log").write_text("")
        made.start("p-2")
        assert len(list(made.folder.glob("old-*.log"))) == 1


def test_all_may_be_told_to_end_at_the_end(tmp_path: Path) -> None:
    """Closing with `end` tells all to end, without waiting for it."""
    actuator = ProcessActuator(spec(tmp_path), "p")

    async def main() -> None:
        await actuator.start("p-1")
        actuator.close(True)

    process = None
    try:
        run(main)
        process = mark(actuator.processes)
        until(lambda: not kernel.lives(process), "its end")
    finally:
        end_all(actuator.processes)


def test_new_settings_are_for_the_next(tmp_path: Path) -> None:
    """What is started from now on follows the new command; the folder cannot change while it runs."""
    actuator = ProcessActuator(spec(tmp_path), "p")
    new = spec(tmp_path, FAILS)
    assert actuator.respec(new)
    assert actuator.processes.spec.command == new.command
    assert not actuator.respec(ProcessSpec(command=command(WAITS), directory=str(tmp_path / "elsewhere")))
    assert actuator.processes.spec.directory == new.directory
    actuator.close()


def test_what_another_pool_left_is_told(tmp_path: Path) -> None:
    """Processes of a pool that is no longer there are told of, with their numbers; those of a pool that is are not."""
    made = Processes(spec(tmp_path), "old")
    made.start("old-1")
    folder = str(tmp_path / "state")
    try:
        (said,) = left_in(folder, frozenset({"p"}))
        assert said.startswith("pool old does not scale itself here")
        assert f"old-1 ({mark(made, 'old-1').pid})" in said
        assert list(left_in(folder, frozenset({"old"}))) == []
    finally:
        end_all(made)
        made.close(False)
    until(lambda: not list(left_in(folder, frozenset())), "its end")


def test_killed_with_its_gateway_between(tmp_path: Path) -> None:
    """A gateway that is killed outright leaves its replicas running, and the next one finds them."""
    given = spec(tmp_path)
    program = (
        "import os, signal\nfrom penstock.adapters.actuators.process import *\n"
        f"made = Processes(ProcessSpec(command={given.command!r}, directory={given.directory!r}), 'p')\n"
        "made.start('p-1')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    gateway = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)
    assert gateway.returncode == -signal.SIGKILL
    with processes(given) as made:
        assert one(made).state == "running"
        entry = made.ledger.units["p-1"]
        assert kernel.with_variable(VARIABLE, entry.token) == Mark(entry.pid, entry.started)
        os.kill(entry.pid, signal.SIGTERM)
        until(lambda: one(made).state == "ended", "its end")
        assert one(made).detail.startswith("its process is gone")
