"""To remember why changes nothing: two Gates are told the same random facts, one remembers, and both order the same."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test
from msgspec.structs import replace

from penstock.base.nouns import Replica
from penstock.base.rand import Rand
from penstock.core import spec as parts
from penstock.core.effects import Effect
from penstock.core.events import ClientGone, Ended, Event, Reconfigured
from penstock.core.gate import Gate
from penstock.telemetry.explain import explain
from tests.core.playbook import arrived, fleet, gate, pool, sends
from tests.properties.drawn import replicas, specs
from tests.properties.test_gate import GateMachine


def remembering(spec: parts.GateSpec) -> parts.GateSpec:
    """The same settings, with a short memory."""
    return replace(spec, explain=parts.ExplainSpec(calls=5))


class Both:
    """A Gate that remembers, beside one that does not."""

    def __init__(self, spec: parts.GateSpec, seed: int) -> None:
        self._gate, self._plain = Gate(remembering(spec), Rand(seed)), Gate(spec, Rand(seed))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    def on(self, event: Event, now: float) -> list[Effect]:
        """Tell both."""
        orders = self._plain.on(event, now)
        told = Reconfigured(remembering(event.spec)) if isinstance(event, Reconfigured) else event
        assert self._gate.on(told, now) == orders
        trails = list(self._gate.trails())
        assert len(trails) <= 5
        for trail in trails[:1]:  # every way can be told, whatever it was
            assert explain(trail).summary
        return orders


class Remembering(GateMachine):
    """The world of the Gate's own properties, with both."""

    @initialize(spec=specs(), fleet=replicas(), seed=st.integers(0, 9))
    def start(self, spec: parts.GateSpec, fleet: tuple[Replica, ...], seed: int) -> None:
        self.gate = Both(spec, seed)  # type: ignore[assignment]
        self.spec = spec
        self.tell_fleet(fleet)


def orders(explain: parts.ExplainSpec) -> list[list[Effect]]:
    """Two tenants, one with its share of the seats, new settings while both wait, and what is ordered."""
    made = gate(pool(queue=parts.QueueSpec(max_share=0.5, share_idle_s=5.0)), explain=explain)
    calls = [arrived(id, tenant=id[0]) for id in ("a1", "b1", "a2", "b2")]
    story: list[tuple[float, Event]] = [
        (0.0, fleet("r", max_concurrent_requests=2)), *((0.0, call) for call in calls), (4.0, Reconfigured(made.spec)),
        (4.5, ClientGone("a1")), (6.0, Ended("a2", 1, 200)),
    ]  # fmt: skip
    return [made.on(fact, now) for now, fact in story]


def test_a_look_at_a_tenant_is_no_call_of_his() -> None:
    """Calls that are admitted again make nobody newly about: the trails read what the pool knows, and ask nothing."""
    plain = orders(parts.ExplainSpec(calls=0))
    assert sends(plain[-1]) == [("b2", "r")]
    assert orders(parts.ExplainSpec()) == plain


@pytest.mark.slow
def test_remembering_why_changes_no_order() -> None:
    """Whatever happens, a Gate that keeps trails orders what one without them orders; and every trail can be told."""
    run_state_machine_as_test(Remembering, settings=settings(max_examples=100, stateful_step_count=40))
