"""Sources asked in the gateway: whole answers go to the roster, hiccups change nothing, and a change is logged once."""

import asyncio
import logging
from typing import Any

import dns.rcode
import pytest

from penstock.base.nouns import Replica
from penstock.config.load import load, read_text
from penstock.config.schema import Access, Discovered, DnsConf
from penstock.gateway.build import Gateway
from penstock.gateway.fleet.discovery import Discovery, _Watch
from penstock.gateway.fleet.roster import key_of
from tests.helpers.dns import NameServer
from tests.helpers.wire import Engine, answer, run, until


def source(names: NameServer, name: str = "chat.test", **spec: Any) -> Discovered:
    """A source that asks this name server."""
    conf = DnsConf(name=name, port=80, nameservers=(names.address,), **spec)
    return Discovered(pool="p", spec=conf, template=Replica(id="", url="", pool="p"), access=Access())


def test_it_asks_again_and_tells_only_what_has_changed() -> None:
    """Many looks, two changes: two whole tellings."""

    async def main() -> None:
        told: list[list[str]] = []
        async with NameServer({("chat.test", "A"): ["127.0.0.2"]}, ttl_s=0) as names:
            discovery = Discovery(
                lambda found: told.append([it.host for all_ in found.values() for it in all_]),
                lambda: 0.0,
                least_s=0.005,
            )
            discovery.apply((source(names),))
            discovery.start()
            await until(lambda: len(names.asked) >= 4)
            names.records["chat.test", "A"] = ["127.0.0.2", "127.0.0.3"]
            await until(lambda: len(told) == 2)
            discovery.close()
        assert told == [["127.0.0.2"], ["127.0.0.2", "127.0.0.3"]]

    run(main)


def test_a_name_server_that_fails_empties_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """NXDOMAIN, errors and silence leave the fleet as it is, are shown with their age, and are logged once each way."""

    async def main() -> None:
        now = 0.0
        told: list[object] = []
        async with NameServer({("chat.test", "A"): ["127.0.0.2"]}) as names:
            discovery = Discovery(told.append, lambda: now)
            discovery.apply((source(names),))
            (watch,) = discovery._watches.values()
            await discovery.look(watch)
            now = 10.0
            names.rcode = dns.rcode.SERVFAIL
            await discovery.look(watch)
            names.rcode, kept = dns.rcode.NOERROR, names.records
            names.records = {}
            await discovery.look(watch)
            names.silent = True
            discovery.apply((source(names, timeout_s=0.02),))
            (watch,) = discovery._watches.values()
            await discovery.look(watch)
            (view,) = discovery.views()
            assert (view.found, view.good_s, view.looked_s, view.failures) == (["127.0.0.2:80"], 10.0, 0.0, 3)
            assert view.error
            names.silent, names.records = False, kept
            discovery.apply((source(names),))
            (watch,) = discovery._watches.values()
            await discovery.look(watch)
            assert discovery.views()[0].error == ""
        assert len(told) == 1

    with caplog.at_level(logging.INFO):
        run(main)
    said = [record.getMessage() for record in caplog.records if "discovery" in record.getMessage()]
    assert ["found 1" in said[0], "fails" in said[1], "works again" in said[2]] == [True] * 3
    assert len(said) == 3


def test_a_name_server_that_hangs_holds_up_no_other() -> None:
    """One never answers: what another says is told, again and again, while the first is still waited for."""

    async def main() -> None:
        told: list[list[str]] = []
        async with NameServer({("chat.test", "A"): ["127.0.0.2"]}, ttl_s=0) as names, NameServer({}) as hangs:
            hangs.silent = True
            discovery = Discovery(
                lambda found: told.append([it.host for all_ in found.values() for it in all_]),
                lambda: 0.0,
                least_s=0.005,
            )
            discovery.apply((source(hangs, "other.test", timeout_s=30.0), source(names)))
            discovery.start()
            await until(lambda: len(names.asked) >= 4)
            names.records["chat.test", "A"] = ["127.0.0.2", "127.0.0.3"]
            await until(lambda: len(told) == 2)
            stuck = next(view for view in discovery.views() if not view.found)
            discovery.close()
        assert (stuck.failures, len(hangs.asked) > 0) == (0, True)

    run(main)


@pytest.mark.parametrize(
    "failing, lasts_s, pause_s",
    [(0, None, 30.0), (0, 5.0, 5.0), (0, 0.0, 1.0), (0, 999.0, 30.0), (1, None, 1.0), (3, None, 4.0), (60, None, 30.0)],
)
def test_the_pace(failing: int, lasts_s: float | None, pause_s: float) -> None:
    """The interval; sooner where a TTL ends or a look has failed; never more than once a second."""
    discovery = Discovery(lambda found: None, lambda: 0.0)
    watch = _Watch(("p", "x"), DnsConf(name="x", port=1, interval_s=30.0), None)
    watch.settled.failing = failing
    assert discovery._pause_s(watch, lasts_s) == pause_s


def test_a_source_whose_settings_change_keeps_what_it_knows() -> None:
    """One that stays keeps its addresses through a reload; one that leaves is asked no more."""

    async def main() -> None:
        async with NameServer({("chat.test", "A"): ["127.0.0.2"]}, ttl_s=0) as names:
            discovery = Discovery(lambda found: None, lambda: 0.0, least_s=0.005)
            first = source(names)
            discovery.apply((first,))
            discovery.start()
            await until(lambda: bool(discovery.found()[key_of(first)]))
            names.silent = True
            discovery.apply((source(names, interval_s=3.0), source(names, "other.test")))
            assert [len(found) for found in discovery.found().values()] == [1, 0]
            discovery.apply(())
            assert discovery.found() == {}
            await asyncio.sleep(0)
            asked = len(names.asked)
            await asyncio.sleep(0.03)
            assert len(names.asked) == asked
            discovery.close()

    run(main)


def test_a_bug_costs_one_look(caplog: pytest.LogCaptureFixture) -> None:
    """Who hears of the addresses may fail: he is told again with the next look."""

    async def main() -> None:
        told: list[object] = []

        def hear(found: object) -> None:
            told.append(found)
            raise RuntimeError("a bug")

        async with NameServer({("chat.test", "A"): ["127.0.0.2"]}, ttl_s=0) as names:
            discovery = Discovery(hear, lambda: 0.0, least_s=0.005)
            discovery.apply((source(names, interval_s=0.001),))
            discovery.start()
            await until(lambda: len(told) >= 3)
            discovery.close()
        assert told[0] == told[2]

    run(main)
    assert [record for record in caplog.records if record.exc_info]


def test_a_gateway_serves_what_a_name_stands_for() -> None:
    """From the file to the engine: found at the start, asked for by name, shown by the admin API."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, NameServer({("chat.test", "A"): ["127.0.0.1"]}) as names:
            page = f"""
listen: 127.0.0.1:0
admin: null
pools:
  - name: p
    models: [m]
    probe: {{enabled: false}}
    discover: [{{kind: dns, name: chat.test, port: {engine.port}, nameservers: ["{names.address}"]}}]
"""
            gateway = Gateway(load(page, {}, read_text), seed=1)
            await gateway.start()
            try:
                await until(lambda: bool(gateway.replica_views()))
                (view,) = gateway.replica_views()
                assert (view.id, view.state) == (f"127.0.0.1:{engine.port}", "healthy")
                assert gateway.source_views()[0].found == [view.id]
                assert b"penstock_source_replicas" in gateway.metrics()
            finally:
                await gateway.stop()

    run(main)
