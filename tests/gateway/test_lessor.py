"""The store of limits that a parent has for its workers."""

import time
from pathlib import Path

from msgspec.structs import replace

from penstock.adapters.stores.lessors import SOCKET, lessor_of
from penstock.base.entries import Used
from penstock.base.leases import Ask, Question, Want
from penstock.config.schema import Settings
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, SharedSpec
from penstock.core.spec import GateSpec
from penstock.gateway.lessor import Lessor, Recall, tidy_up
from tests.helpers.wire import run

LIMITED = Settings(gate=GateSpec(limits=LimitsSpec(everybody=AllowanceSpec(requests_per_minute=10))))
ASK = Ask(("everybody", "", ""), 1, (Want("requests per minute", 10, least=7, due=7),))


def mode(path: Path) -> int:
    """Who may do what with it."""
    return path.stat().st_mode


def test_workers_find_it_and_it_goes() -> None:
    """By the settings that workers are shown they find one book; its socket is this user's alone, and goes with it."""

    async def main() -> None:
        lessor = Lessor(LeaseBook(), time.time)
        await lessor.start()
        shown = lessor.shown(LIMITED)
        path = Path((shown.server.lease_store or "").removeprefix(SOCKET))
        assert mode(path) & 0o077 == 0
        assert shown.gate.limits is not None
        assert shown.gate.limits.shared == SharedSpec()
        granted = []
        for peer in ("a", "b"):
            store = lessor_of(shown.server.lease_store or "")
            (answer,) = (await store.exchange(Question(peer, 1, 3.0, (ASK,)))).answers
            granted.append(answer.grants[0].granted)
            await store.close()
        assert granted == [7, 0]
        await lessor.close()
        assert not path.parent.exists()

    run(main)


def test_without_limits_nobody_asks() -> None:
    """Where nobody is limited nothing is shared, whatever has a price."""

    async def main() -> None:
        lessor = Lessor(LeaseBook(), time.time)
        for limits in (None, LimitsSpec()):
            settings = replace(LIMITED, gate=GateSpec(limits=limits))
            assert lessor.shown(settings).gate == settings.gate
        await lessor.close()

    run(main)


def test_a_book_recalls_what_was_used() -> None:
    """What the ledger tells counts in the windows of hours, days and months of tenant, key, everybody and the model;
    what is too old counts as nothing."""
    book, now = LeaseBook(), 86_400.0 * 20_000 + 7_200
    lines = [
        Used("t", "k", "alias", now - 600, requests=3, tokens=50),
        Used("t", "k", "alias", now - 86_400 * 2, requests=1_000),
        Used("t", "j", "other", now - 60, day=5, month=9),
    ]
    recall = Recall(book)
    recall.tell(lines[:2], lambda name: "m" if name == "alias" else name, now)
    recall.tell(lines[2:], lambda name: name, now)

    def used(account: tuple[str, str, str], what: str, limit: int = 10_000) -> int:
        asked = Ask(account, 1, (Want(what, limit, least=1, due=1),))
        (answer,) = book.exchange(Question(f"{account}{what}", 1, 3.0, (asked,)), now).answers
        return answer.grants[0].used - answer.grants[0].held

    assert used(("tenant", "t", ""), "requests per day") == 3
    assert used(("tenant", "t", "m"), "tokens per hour") == 50
    assert used(("key", "k", ""), "requests per hour") == 3
    assert used(("key", "j", "other"), "budget per month") == 9
    assert used(("everybody", "", ""), "budget per day") == 5
    assert used(("tenant", "t", ""), "requests per minute") == 0


def test_a_worker_tidies_up(tmp_path: Path) -> None:
    """What a parent that was killed has left is removed by its workers, and nothing else is."""
    folder = tmp_path / "penstock-x"
    folder.mkdir()
    (folder / "leases").touch()
    tidy_up(None)
    tidy_up("redis://host/0")
    tidy_up(f"{SOCKET}{tmp_path}/leases")
    assert folder.exists()
    tidy_up(f"{SOCKET}{folder}/leases")
    assert not folder.exists()
    tidy_up(f"{SOCKET}{folder}/leases")
