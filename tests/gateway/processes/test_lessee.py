"""The way to the store of shared limits: orders there, facts back, and what is told of it."""

import asyncio
import logging

import pytest

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.base.leases import Ask, Question, Reply, Want
from penstock.core.effects import Lease, Return
from penstock.core.events import Event, Leased, LeaseLost, Reconfigured
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import LimitsSpec, SharedSpec
from penstock.core.spec import GateSpec
from penstock.gateway.processes.lessee import Lessee, give_back, open_lessee
from tests.helpers.wire import run, until

ASKS = (Ask(("tenant", "t", ""), 1, (Want("requests per minute", 5, (), 0, 1, 1),)),)


class Fickle(LeaseMemory):
    """A store that is away, hangs, or answers."""

    def __init__(self) -> None:
        super().__init__(LeaseBook(), lambda: 7.0)
        self.mood = ""
        self.heard: list[Question] = []
        self.closed = False

    async def exchange(self, question: Question) -> Reply:
        if self.mood == "away":
            raise OSError("nobody there")
        if self.mood == "hangs":
            await asyncio.Event().wait()
        self.heard.append(question)
        return await super().exchange(question)

    async def close(self) -> None:
        self.closed = True


def test_an_order_becomes_a_message_and_its_answer_a_fact() -> None:
    """Under a name that no other process has."""

    async def main() -> None:
        store, facts = Fickle(), list[Event]()
        one, two = Lessee(store, facts.append), Lessee(store, facts.append)
        one.perform(Lease(1, 3.0, ASKS))
        two.perform(Lease(1, 3.0, ASKS))
        await until(lambda: len(facts) == 2, "answers")
        assert all(isinstance(fact, Leased) and (fact.number, fact.now) == (1, 7.0) for fact in facts)
        assert store.heard[0].asks == ASKS
        assert store.heard[0].peer != store.heard[1].peer
        assert one.metrics() == {"lease_messages": 1, "lease_grants": 1, "lease_lost": 0, "lease_store_up": 1}

    run(main)


def test_a_store_that_does_not_answer_is_told_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Away or silent: LeaseLost each time, one line when it begins and one when it is over."""

    async def main() -> None:
        store, facts = Fickle(), list[Event]()
        lessee = Lessee(store, facts.append, timeout_s=0.01)
        for number, store.mood in enumerate(("away", "hangs", ""), 1):
            lessee.perform(Lease(number, 3.0, ASKS))
            await until(lambda number=number: len(facts) == number, "an answer")  # type: ignore[misc]
        assert facts[0] == LeaseLost(1, "OSError")
        assert facts[1] == LeaseLost(2, "TimeoutError")
        assert isinstance(facts[2], Leased)
        assert lessee.lost == 2

    with caplog.at_level(logging.INFO):
        run(main)
    said = [record.getMessage() for record in caplog.records if "shared limits" in record.getMessage()]
    assert said == [
        "the store of shared limits cannot be reached: nobody there", "the store of shared limits can be reached again"
    ]  # fmt: skip


def test_the_end_waits_for_the_last_message() -> None:
    """Limits cease to be shared, what is returned is heard, and nothing is told of it; then the store is closed."""

    async def main() -> None:
        store, facts = Fickle(), list[Event]()
        lessee = Lessee(store, lambda fact: None)

        def tell(fact: Event) -> None:
            facts.append(fact)
            lessee.perform(Return(2, 3.0, ASKS))

        limits = LimitsSpec(shared=SharedSpec())
        await give_back(lessee, GateSpec(limits=limits), tell)
        assert facts == [Reconfigured(GateSpec(limits=LimitsSpec()))]
        assert [question.number for question in store.heard] == [2]
        assert store.closed
        await give_back(None, GateSpec(), tell)

    run(main)


def test_a_url_that_is_none_is_an_os_error() -> None:
    """As an address that cannot be had."""

    async def main() -> None:
        with pytest.raises(OSError, match=r"shared_limits\.store"):
            open_lessee("http://x", lambda fact: None)

    run(main)
