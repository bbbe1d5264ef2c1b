"""Scaling on the gateway's loop: orders are performed, the fleet is told, failures are told to the Governor."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from penstock.adapters.actuators.dry_run import DryRunSpec
from penstock.adapters.actuators.process import ProcessSpec
from penstock.base.nouns import Replica
from penstock.config.schema import Access, ScaleConf, ScaledPool, SpotConf
from penstock.core.scale.flow import Flow
from penstock.core.scale.governor import Governor
from penstock.core.scale.spec import DownPace, UpPace
from penstock.core.scale.window import ReplicaSeen, Window
from penstock.core.scale.words import Fact, Order
from penstock.drive.journal import Header, Turn, read
from penstock.drive.pump import monotonic_clock
from penstock.gateway import scaling
from penstock.gateway.scaling import Scaling
from tests.helpers.actuators import Obedient
from tests.helpers.wire import run, until

CONF = ScaleConf(
    min=1, max=3, interval_s=0.02, look_s=0.05, up=UpPace(stabilisation_s=0.0),
    down=DownPace(stabilisation_s=0.0, cooldown_s=0.0, period_s=0.0), panic=None, actuator=DryRunSpec(),
)  # fmt: skip


def pool(name: str = "p", conf: ScaleConf = CONF) -> ScaledPool:
    """One that scales itself."""
    return ScaledPool(pool=name, spec=conf, template=Replica(id="x", url="http://x", pool=name), access=Access())


class Place:
    """A gateway that serves whatever it is told of, at once."""

    def __init__(self) -> None:
        self.fleet: dict[str, Replica] = {}
        self.in_flight = 0
        self.has_pool = True
        self.left: set[str] = set()

    def window(self, pool: str) -> Window | None:
        """Everybody is well."""
        seen = (
            ReplicaSeen(id=name, well=not it.drain, loading=False, in_flight=self.in_flight, seats=10)
            for name, it in self.fleet.items()
        )
        return Window(queued=0, replicas=tuple(seen)) if self.has_pool else None

    def busy(self, replica: str) -> bool:
        """Whether it has calls left."""
        return replica in self.left

    def scaled(self, replicas: tuple[tuple[Replica, Access], ...]) -> None:
        """The fleet."""
        self.fleet = {replica.id: replica for replica, _ in replicas}


class Rig:
    """Scaling over these two."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.actuators: dict[str, Obedient] = {}
        self.refuses: OSError | None = None
        monkeypatch.setattr(scaling, "actuator_of", self._make)
        monkeypatch.setattr(scaling, "respec", lambda actuator, spec: True)
        self.place = Place()
        self.scaling = Scaling(self.place, *monotonic_clock(asyncio.get_running_loop()), Flow())

    def _make(self, spec: Any, name: str) -> Obedient:
        if self.refuses is not None:
            raise self.refuses
        return self.actuators.setdefault(name, Obedient())

    def begin(self, *pools: ScaledPool) -> Obedient:
        """Open and start; the first pool's actuator."""
        self.scaling.open(pools)
        self.scaling.start(pools)
        return self.actuators[pools[0].pool]

    @property
    def draining(self) -> list[str]:
        """Who should take nothing new."""
        return [name for name, replica in self.place.fleet.items() if replica.drain]


def over(monkeypatch: pytest.MonkeyPatch, test: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a rig."""

    async def main() -> None:
        rig = Rig(monkeypatch)
        try:
            await test(rig)
        finally:
            await rig.scaling.stop()

    run(main)


@pytest.mark.slow
def test_a_pool_comes_up_grows_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas are started, join the fleet as the template describes them, and leave it drained before they stop."""

    async def test(rig: Rig) -> None:
        actuator = rig.begin(pool())
        await until(lambda: list(rig.place.fleet) == ["p-1"])
        assert rig.place.fleet["p-1"] == Replica(id="p-1", url="http://p-1", pool="p")
        rig.place.in_flight = 10
        await until(lambda: len(rig.place.fleet) == 3)
        rig.place.in_flight = 1
        await until(lambda: len(rig.draining) == 2)
        assert len(actuator.units) == 3
        await until(lambda: sorted(actuator.draining) == sorted(rig.draining))
        rig.place.in_flight = 0
        await until(lambda: len(actuator.units) == 1 and len(rig.place.fleet) == 1)
        (view,) = rig.scaling.views()
        assert (view.wanted, view.ups > 0, view.downs > 0) == (1, True, True)

    over(monkeypatch, test)


@pytest.mark.slow
def test_an_actuator_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Looks and orders that fail are told to the Governor, bugs as well; the fleet stays as it is."""

    async def test(rig: Rig) -> None:
        actuator = rig.begin(pool())
        await until(lambda: len(rig.place.fleet) == 1)
        for failure in (OSError("it is away"), TimeoutError(), ZeroDivisionError()):
            actuator.fails = failure
            await until(lambda: rig.scaling.views()[0].blind != "")
            assert len(rig.place.fleet) == 1
            actuator.fails = None
            await until(lambda: rig.scaling.views()[0].blind == "")
        rig.place.in_flight = 10
        await until(lambda: len(rig.place.fleet) == 3)

    over(monkeypatch, test)
    assert "looking at its replicas failed: a bug" in caplog.text


def test_an_order_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A start that fails is part of the pool's story, and a warning in the log."""

    async def refuse(unit: str, purchase: str) -> None:
        raise OSError("no room")

    async def test(rig: Rig) -> None:
        rig.scaling.open((pool(),))
        monkeypatch.setattr(rig.actuators["p"], "start", refuse)
        rig.scaling.start((pool(),))
        await until(lambda: rig.scaling.views()[0].failures == 1)
        story = rig.scaling.story("p", 100)
        assert story is not None
        assert any(getattr(entry, "why", "") == "no room" for entry in story.entries)
        assert rig.scaling.story("x", 100) is None

    over(monkeypatch, test)
    assert "pool p: p-1 ordered -> stopping: no room" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("failure", "said"), [(OSError("no way"), "does not know: no way"), (KeyError(), "a bug")])
def test_a_hint_that_is_not_taken(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An actuator that cannot take the hint that a replica drains is logged; the replica goes all the same."""

    async def refuse(unit: str, drain: bool) -> None:
        raise failure

    async def test(rig: Rig) -> None:
        actuator = rig.begin(pool())
        monkeypatch.setattr(actuator, "drain", refuse)
        rig.place.in_flight = 10
        await until(lambda: len(rig.place.fleet) == 3)
        rig.place.in_flight = 0
        await until(lambda: len(actuator.units) == 1)

    over(monkeypatch, test)
    assert said in caplog.text


def test_an_order_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is not obeyed in time counts as refused."""

    async def hang(unit: str, purchase: str) -> None:
        await asyncio.Event().wait()

    async def test(rig: Rig) -> None:
        monkeypatch.setattr(scaling, "ORDER_S", 0.01)
        rig.scaling.open((pool(),))
        monkeypatch.setattr(rig.actuators["p"], "start", hang)
        rig.scaling.start((pool(),))
        await until(lambda: rig.scaling.views()[0].failures == 1)
        story = rig.scaling.story("p", 100)
        assert story is not None
        assert any(getattr(entry, "why", "") == "not done in time" for entry in story.entries)

    over(monkeypatch, test)


@pytest.mark.slow
def test_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    """New pools begin, changed ones follow, and one that is gone drains, stops and is let go."""

    async def test(rig: Rig) -> None:
        first = rig.begin(pool())
        await until(lambda: len(rig.place.fleet) == 1)
        rig.scaling.apply((pool("q"), pool("p")))
        await until(lambda: sorted(rig.place.fleet) == ["p-1", "q-1"])
        rig.place.in_flight = 1
        rig.scaling.apply((pool("q"),))
        await until(lambda: rig.draining == ["p-1"])
        rig.place.in_flight = 0
        await until(lambda: first.closed is False)
        assert ([view.pool for view in rig.scaling.views()], list(rig.place.fleet)) == (["q"], ["q-1"])

    over(monkeypatch, test)


def test_a_pool_that_the_gate_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that is gone altogether stops its replicas only when their last calls have ended."""

    async def test(rig: Rig) -> None:
        actuator = rig.begin(pool())
        await until(lambda: rig.scaling.views()[0].states["ready"] == 1)
        rig.place.has_pool, rig.place.left = False, {"p-1"}
        rig.scaling.apply(())
        await until(lambda: rig.scaling.views()[0].states["draining"] == 1)
        assert list(actuator.units) == ["p-1"]
        rig.place.left.clear()
        await until(lambda: actuator.closed is False)
        assert actuator.units == {}

    over(monkeypatch, test)


def test_an_actuator_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """At the start that is an error and nothing is held; at a reload the pool stays as it is, and the log says why."""

    async def test(rig: Rig) -> None:
        rig.refuses = OSError("another gateway")
        with pytest.raises(OSError, match="another gateway"):
            rig.scaling.open((pool(),))
        rig.scaling.apply((pool(),))
        assert rig.scaling.views() == []
        rig.refuses = None
        rig.scaling.apply((pool(),))
        await until(lambda: len(rig.place.fleet) == 1)

    over(monkeypatch, test)
    assert "pool p does not scale itself: another gateway" in caplog.text


def test_what_becomes_of_replicas_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go on, unless their pool stops them with the gateway; then it waits until they are gone."""

    async def main(stops: bool) -> Obedient:
        monkeypatch.setattr(scaling, "ends_within_s", lambda spec: 5.0 if stops else None)
        rig = Rig(monkeypatch)
        actuator = rig.begin(pool())
        await until(lambda: len(rig.place.fleet) == 1)
        await rig.scaling.stop()
        assert rig.scaling.views()[0].pool == "p"
        return actuator

    kept: list[Obedient] = []

    async def keep() -> None:
        kept.append(await main(False))

    async def end() -> None:
        kept.append(await main(True))

    run(keep)
    run(end)
    assert [(list(one.units), one.closed) for one in kept] == [(["p-1"], False), ([], True)]


def test_nothing_is_held_without_scaled_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway without scaled pools has no task and no timer of it."""

    async def main() -> None:
        rig = Rig(monkeypatch)
        before = asyncio.all_tasks()
        rig.scaling.open(())
        rig.scaling.start(())
        assert asyncio.all_tasks() == before
        assert rig.scaling.governor.next_wake() is None
        await rig.scaling.stop()

    run(main)


def test_leftovers_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """What another pool left running is a warning at the start."""
    monkeypatch.setattr(scaling, "leftovers", lambda specs, pools: ["pool old runs still"])

    async def test(rig: Rig) -> None:
        rig.begin(pool())

    with caplog.at_level(logging.WARNING):
        over(monkeypatch, test)
    assert "pool old runs still" in caplog.text


SPOT = msgspec.structs.replace(CONF, min=2, max=4, spot=SpotConf(base=0.5, hourly_cost=1.0, notice_s=60.0))


@pytest.mark.slow
def test_spot_replicas_join_as_such_and_go_at_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The actuator is told how each is to be had, the fleet what it is and costs. A notice drains it and another one
    comes, whoever names it, or all spot ones by *; a name that nobody has is nobody's."""

    async def test(rig: Rig) -> None:
        template = Replica(id="x", url="http://x", pool="p", hourly_cost=3.0)
        actuator = rig.begin(msgspec.structs.replace(pool(conf=SPOT), template=template))
        await until(lambda: len(rig.place.fleet) == 2)
        assert {name: unit.purchase for name, unit in actuator.units.items()} == {"p-1": "on_demand", "p-2": "spot"}
        found = {name: (it.purchase, it.hourly_cost) for name, it in rig.place.fleet.items()}
        assert found == {"p-1": ("on_demand", 3.0), "p-2": ("spot", 1.0)}
        await until(lambda: rig.scaling.views()[0].states["ready"] == 2)
        rig.place.in_flight = 1
        assert rig.scaling.noticed("p", "*", None) == 1
        assert rig.draining == ["p-2"]
        (gone_in_s,) = [unit.gone_in_s for unit in rig.scaling.views()[0].units if unit.unit == "p-2"]
        assert gone_in_s == pytest.approx(60.0, abs=5.0)
        await until(lambda: "p-3" in rig.place.fleet)
        assert rig.place.fleet["p-3"].purchase == "spot"
        assert rig.scaling.noticed("p", "p-99", 1.0) == rig.scaling.noticed("q", "p-1", 1.0) == 0

    over(monkeypatch, test)


@pytest.mark.slow
def test_what_was_spent_survives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pool's money is written down beside its processes, at the latest when the gateway stops, and the next gateway
    begins with it; a disk that fails costs no decision."""
    actuator = ProcessSpec(command="run {port}", directory=str(tmp_path))
    conf = replace(CONF, max_monthly_cost=1e6, actuator=actuator)
    dear = replace(pool(conf=conf), template=Replica(id="x", url="http://x", pool="p", hourly_cost=3600.0))
    spent: list[float] = []

    async def test(rig: Rig) -> None:
        rig.begin(dear)
        await until(lambda: len(rig.place.fleet) == 1)
        await until(lambda: rig.scaling.views()[0].month_cost > (spent[0] if spent else 0.0) + 0.05)
        spent.append(rig.scaling.views()[0].month_cost)

    over(monkeypatch, test)
    file = tmp_path / "p" / "spent.json"
    assert sum(msgspec.json.decode(file.read_bytes())["spent"].values()) >= spent[0]
    over(monkeypatch, test)
    file.write_text("{")
    with pytest.raises(OSError, match=r"spent\.json cannot be read"):
        over(monkeypatch, test)
    file.unlink()
    file.with_suffix(".new").mkdir()
    spent.clear()
    over(monkeypatch, test)


@pytest.mark.slow
def test_a_journal_told_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every turn stands in the file, without commands; a new Governor that is told the same orders the same."""
    file = tmp_path / "journal.scaling"
    secret = replace(CONF, actuator=ProcessSpec(command="run {port}", env={"TOKEN": "geheim"}, directory=str(tmp_path)))

    async def test(rig: Rig) -> None:
        rig.scaling.open((pool(conf=secret),), file)
        rig.scaling.start((pool(conf=secret),))
        rig.place.in_flight = 10
        await until(lambda: len(rig.place.fleet) == 3)
        rig.actuators["p"].fails = OSError("it is away")
        await until(lambda: rig.scaling.views()[0].blind != "")

    over(monkeypatch, test)
    head, *turns = read(file, Fact, Order)
    assert isinstance(head, Header)
    assert b"geheim" not in file.read_bytes()
    governor = Governor()
    for turn in turns:
        assert isinstance(turn, Turn)
        assert governor.on(turn.event, turn.now) == turn.effects
    assert len(turns) > 10
