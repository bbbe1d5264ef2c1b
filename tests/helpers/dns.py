"""A name server on loopback, over real UDP sockets: it answers what a test has put into it, and can fall silent."""

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = dict[tuple[str, str], list[str]]
"""(name, type) -> the records' texts, as a zone file writes them."""


class NameServer(asyncio.DatagramProtocol):
    """Use as `async with NameServer({("chat.test", "A"): ["127.0.0.1"]}) as names`."""

    def __init__(self, records: Records | None = None, ttl_s: int = 1) -> None:
        self.records: Records = dict(records or {})
        self.ttl_s = ttl_s
        self.silent = False
        """It hears, and says nothing."""
        self.rcode = dns.rcode.NOERROR
        """Another one is its answer to everything."""
        self.asked: list[tuple[str, str]] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        """As a configuration names it."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> "NameServer":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A question."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        records = self.records.get((name, kind))
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
        elif records:
            answer.answer.append(dns.rrset.from_text_list(question.name, self.ttl_s, "IN", kind, records))
        elif all(name != known for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)
