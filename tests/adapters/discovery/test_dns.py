"""DNS names as sources, asked of a real name server on loopback and of the system's own resolver."""

import asyncio
import importlib
import socket
import threading
from typing import Any

import dns.rcode
import pytest

from penstock.adapters.discovery import dns as room
from penstock.adapters.discovery.dns import DnsSource, DnsSpec, parse_nameserver
from penstock.base.ports import Sighting
from tests.helpers.dns import NameServer, Records
from tests.helpers.wire import run, until


def told(records: Records, spec: dict[str, Any], ttl_s: int = 7, timeout_s: float = 2.0, **server: Any) -> Sighting:
    """What a source sees of a name server with these records."""

    async def main() -> Sighting:
        async with NameServer(records, ttl_s) as names:
            for name, value in server.items():
                setattr(names, name, value)
            return await DnsSource(DnsSpec(nameservers=(names.address,), **spec)).look(timeout_s)

    return run(main)


def test_every_a_record_is_a_replica() -> None:
    """By number, each once, and the answer lasts as long as its TTL."""
    records = {("chat.test", "A"): ["127.0.0.10", "127.0.0.9"]}
    sighting = told(records, {"name": "chat.test", "port": 8000})
    assert [it.address for it in sighting.found] == ["127.0.0.9:8000", "127.0.0.10:8000"]
    assert sighting.lasts_s == 7.0


def test_aaaa_records_make_addresses_in_brackets() -> None:
    """IPv6 is written as URLs write it."""
    sighting = told({("chat.test", "AAAA"): ["fd00::2", "fd00::1"]}, {"name": "chat.test", "type": "aaaa", "port": 80})
    assert [it.address for it in sighting.found] == ["[fd00::1]:80", "[fd00::2]:80"]


def test_srv_records_tell_ports_weights_and_backups() -> None:
    """The lowest priority serves, others stand back; weights are relative to their mean, and 0 is a small chance."""
    records = {("_llm._tcp.test", "SRV"): ["1 30 8001 b.test.", "1 10 8000 a.test.", "2 0 9000 c.test."]}
    sighting = told(records, {"name": "_llm._tcp.test", "type": "srv"})
    assert [(it.address, it.weight, it.backup) for it in sighting.found] == [
        ("a.test:8000", 0.5, False), ("b.test:8001", 1.5, False), ("c.test:9000", 1.0, True),
    ]  # fmt: skip
    assert sighting.lasts_s == 7.0


def test_srv_says_that_there_is_no_service() -> None:
    """The target `.` (RFC 2782) is an empty answer."""
    assert told({("s.test", "SRV"): ["0 0 0 ."]}, {"name": "s.test", "type": "srv"}).found == ()


def test_srv_weight_zero_beside_others_is_a_small_chance() -> None:
    """Never none, or the replica would be there for nothing."""
    records = {("s.test", "SRV"): ["0 0 1 a.", "0 100 1 b."]}
    assert [it.weight for it in told(records, {"name": "s.test", "type": "srv"}).found] == [0.01, 2.0]


def test_a_name_without_such_records_is_an_empty_answer() -> None:
    """The name is there, the record is not: no error."""
    assert told({("chat.test", "TXT"): ["x"]}, {"name": "chat.test", "port": 1}) == Sighting((), None)


@pytest.mark.parametrize(
    "server, words", [({}, "NXDOMAIN"), ({"rcode": dns.rcode.SERVFAIL}, "SERVFAIL"), ({"silent": True}, None)]
)
def test_what_goes_wrong_is_an_oserror(server: dict[str, Any], words: str | None) -> None:
    """An unknown name, a broken server, and one that says nothing within the time."""
    with pytest.raises(OSError, match=words):
        told({}, {"name": "chat.test", "port": 1}, timeout_s=0.2 if words is None else 5.0, **server)


def test_nobody_there_is_an_oserror() -> None:
    """No name server listens at this address: within the time-out, not for ever."""
    source = DnsSource(DnsSpec(name="chat.test", port=1, nameservers=("127.0.0.1:1",)))
    with pytest.raises(OSError):
        run(lambda: source.look(0.2))


def test_who_has_left_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that was given up leaves its loop alone: one that is told something while it closes may hang for ever."""
    said: list[Any] = []
    goes_on = threading.Event()

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", lambda *words: said.append(words))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await room._in_thread(lambda: goes_on.wait(10.0))

    asyncio.run(main())
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "penstock-dns":
            thread.join(10.0)
    assert said == []


def test_the_system_resolves_too() -> None:
    """localhost by the system's resolver: its address, and no TTL."""
    sighting = run(lambda: DnsSource(DnsSpec(name="localhost", port=80)).look(5.0))
    assert [it.address for it in sighting.found] == ["127.0.0.1:80"]
    assert sighting.lasts_s is None


def test_the_system_may_say_no() -> None:
    """A name that cannot be a name is a ValueError; a failure of the resolver is an OSError; no address is none."""

    def raising(code: int) -> Any:
        def lookup(*_: object) -> Any:
            raise socket.gaierror(code, "said so")

        return lookup

    with pytest.raises(ValueError, match="not a name"):
        run(lambda: DnsSource(DnsSpec(name="a" * 64 + "." + "é" * 3, port=80)).look(5.0))
    with pytest.raises(OSError, match="said so"):
        run(lambda: DnsSource(DnsSpec(name="x", port=80), raising(socket.EAI_NONAME)).look(5.0))
    assert run(lambda: DnsSource(DnsSpec(name="x", port=80), raising(socket.EAI_NODATA)).look(5.0)).found == ()


def test_link_local_addresses_are_left_out() -> None:
    """They hold for one network card of this host."""

    def lookup(*_: object) -> Any:
        kind = (socket.AF_INET6, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("fe80::1%eth0", 80, 0, 2)), (*kind, ("fd00::1", 80, 0, 0))]

    sighting = run(lambda: DnsSource(DnsSpec(name="x", type="aaaa", port=80), lookup).look(5.0))
    assert [it.address for it in sighting.found] == ["[fd00::1]:80"]


def test_a_resolver_that_hangs_costs_a_bounded_number_of_threads() -> None:
    """Looks end with their time-out, threads stay at the bound, further looks say so at once, and all is well again
    when the resolver is."""
    stuck = threading.Event()

    def lookup(*_: object) -> Any:
        stuck.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    async def main() -> None:
        await until(lambda: room._free._value == room.MOST_THREADS)  # questions that others here gave up
        source = DnsSource(DnsSpec(name="x", port=80), lookup)
        looks = [source.look(0.05) for _ in range(room.MOST_THREADS)]
        outcomes = await asyncio.gather(*looks, return_exceptions=True)
        assert all(isinstance(outcome, TimeoutError) for outcome in outcomes)
        with pytest.raises(OSError, match="hang already"):
            await source.look(0.05)
        stuck.set()
        await until(lambda: room._free._value == room.MOST_THREADS)
        assert [it.host for it in (await source.look(5.0)).found] == ["127.0.0.1"]

    try:
        run(main)
    finally:
        stuck.set()


def test_a_thread_that_cannot_be_started_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no more threads for now is an OSError, however often, and later looks are as ever."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        source = DnsSource(DnsSpec(name="localhost", port=80))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(room.MOST_THREADS + 1):
                with pytest.raises(OSError, match="can't start new thread"):
                    await source.look(5.0)
        assert [it.host for it in (await source.look(5.0)).found] == ["127.0.0.1"]

    run(main)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The base install has no dnspython: SRV names the extra."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OSError, match=r"penstock\[dns\]"):
        run(lambda: DnsSource(DnsSpec(name="x", type="srv")).look(1.0))


def test_name_servers_are_addresses() -> None:
    """With or without a port, IPv6 in brackets where it has one."""
    assert parse_nameserver("10.0.0.10") == ("10.0.0.10", 53)
    assert parse_nameserver("10.0.0.10:5353") == ("10.0.0.10", 5353)
    assert parse_nameserver("fd00::1") == ("fd00::1", 53)
    assert parse_nameserver("[fd00::1]:5353") == ("fd00::1", 5353)
    for wrong in ("dns.test", "10.0.0.10:0", "10.0.0.10:x", "", "10.0.0.10:"):
        with pytest.raises(ValueError):
            parse_nameserver(wrong)
