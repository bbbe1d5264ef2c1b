"""The store of limits that a parent has for its workers."""

import asyncio
import time
from pathlib import Path

from msgspec.structs import replace

from penstock.adapters.stores.lease_memory import LeaseMemory
from penstock.adapters.stores.lease_sheet import LeaseSheet
from penstock.adapters.stores.lessors import SOCKET, lessor_of
from penstock.base.entries import Used
from penstock.base.leases import Ask, Question, Want
from penstock.config.schema import ServerSpec, Settings
from penstock.core.limits.book import LeaseBook
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, SharedSpec
from penstock.core.spec import GateSpec
from penstock.gateway.processes.lessor import Lessor, Recall, sheet_of, tidy_up
from tests.helpers.wire import run

LIMITED = Settings(gate=GateSpec(limits=LimitsSpec(everybody=AllowanceSpec(requests_per_minute=10))))
ASK = Ask(("everybody", "", ""), 1, (Want("requests per minute", 10, least=7, due=7),))


def mode(path: Path) -> int:
    """Who may do what with it."""
    return path.stat().st_mode


def test_workers_find_it_and_it_goes() -> None:
    """By the settings that workers are shown they find one book; its socket is this user's alone, and goes with it."""

    async def main() -> None:
        lessor = Lessor(LeaseMemory(LeaseBook(), time.time))
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


def test_a_worker_that_is_killed_has_a_last_word() -> None:
    """It had seven and spent two, by its sheet: five are free at once, and what still comes of it is refused; of one
    that ends by itself nothing is said. Their sheets are gone."""

    async def main() -> None:
        book = LeaseBook()
        lessor = Lessor(LeaseMemory(book, time.time))
        await lessor.start()
        store = lessor_of(lessor.url)
        for worker, killed, held in ((1, False, 7), (2, True, 2)):
            peer = lessor.begin(worker)
            path = sheet_of(lessor.url, peer)
            sheet = LeaseSheet(path)
            sheet.add(sheet.open(ASK.account, "requests per minute"), 2)
            account = ("everybody", f"{worker}", "")
            sheet.add(sheet.open(account, "requests per minute"), 2)
            ask = replace(ASK, account=account)
            await store.exchange(Question(peer, 1, 3.0, (ask,)))
            lessor.ended(worker, killed)
            while Path(path).exists():  # noqa: ASYNC110, ASYNC240 - a test
                await asyncio.sleep(0)
            (known,) = [one for key, one in book.accounts() if key == account]
            used = sum(amount for _, amount in known.meters["requests per minute"].used)
            assert used + known.peers[peer].granted["requests per minute"] == held
            (late,) = (await store.exchange(Question(peer, 2, 3.0, (ask,)))).answers or (None,)
            assert (late is None) == killed
        await store.close()
        await lessor.close()

    run(main)


def test_a_gateway_that_ends_says_its_workers_last_words() -> None:
    """One that had to be killed at the end leaves nothing to run out: closing waits for its last word."""

    async def main() -> None:
        book = LeaseBook()
        lessor = Lessor(LeaseMemory(book, time.time))
        await lessor.start()
        store = lessor_of(lessor.url)
        peer = lessor.begin(1)
        sheet = LeaseSheet(sheet_of(lessor.url, peer))
        sheet.add(sheet.open(ASK.account, "requests per minute"), 2)
        await store.exchange(Question(peer, 1, 3.0, (ASK,)))
        await store.close()
        lessor.ended(1, True)
        await lessor.close()
        ((_, known),) = book.accounts()
        used = sum(amount for _, amount in known.meters["requests per minute"].used)
        assert (used, known.peers[peer].granted["requests per minute"]) == (2, 0)

    run(main)


def test_what_gateways_share_is_asked_as_they_say() -> None:
    """Limits that are shared with other gateways keep their settings; only the way to the store is another, and what
    the gateway serves without it is divided among its workers."""

    async def main() -> None:
        lessor = Lessor(LeaseMemory(LeaseBook(), time.time))
        shared = LimitsSpec(everybody=AllowanceSpec(requests_per_minute=10), shared=SharedSpec(away="local", share=0.5))
        shown = lessor.shown(Settings(gate=GateSpec(limits=shared)))
        assert shown.gate.limits == shared
        assert shown.server.lease_store == lessor.url
        two = Settings(gate=GateSpec(limits=shared), server=ServerSpec(workers=2))
        assert lessor.shown(two).gate.limits == replace(shared, shared=SharedSpec(away="local", share=0.25))
        await lessor.close()

    run(main)


def test_without_limits_nobody_asks() -> None:
    """Where nobody is limited nothing is shared, whatever has a price."""

    async def main() -> None:
        lessor = Lessor(LeaseMemory(LeaseBook(), time.time))
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
