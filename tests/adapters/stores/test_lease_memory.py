"""A book and a clock. (What a store must do stands in tests/contracts/test_lease_stores.py.)"""

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.base.leases import Ask, Question, Want
from penstock.core.limits.book import LeaseBook
from tests.helpers.wire import run


def test_its_clock_is_the_stores() -> None:
    """The answer says what time it is there."""

    async def main() -> None:
        store = LeaseMemory(LeaseBook(), lambda: 7.0)
        want = Want("requests per minute", 5, least=1, due=1)
        reply = await store.exchange(Question("a", 1, 3.0, (Ask(("tenant", "t", ""), 1, (want,)),)))
        assert reply.now == 7.0
        assert reply.answers[0].grants[0].granted == 1
        await store.close()

    run(main)
