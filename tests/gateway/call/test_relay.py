"""Bodies on their way: the same bytes whatever the cuts, held until there is content, whole events only."""

import pytest

from penstock.adapters.wire.bodies import FramingError
from penstock.adapters.wire.response import ResponseHead, parse_response_head
from penstock.base.nouns import Usage
from penstock.gateway.call.relay import (
    HOLD_EVENTS_BYTES,
    HOLD_WHOLE_BYTES,
    MAX_EVENT_BYTES,
    EventRelay,
    PlainRelay,
)
from tests.helpers.wire import DONE, END, ROLE, USAGE, chunk, event

CHUNKED = parse_response_head(
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
ENDLESS = parse_response_head(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
JSON_ENDLESS = parse_response_head(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")


def counted(length: int, kind: str = "application/json") -> ResponseHead:
    """A head that announces a length."""
    return parse_response_head(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n".encode())


def plain(wire: bytes) -> bytes:
    """The payload of chunks, read by rule of thumb."""
    out = b""
    while wire:
        line, _, wire = wire.partition(b"\r\n")
        size = int(line, 16)
        out += wire[:size]
        assert wire[size : size + 2] == b"\r\n"
        wire = wire[size + 2 :]
        if not size:
            assert not wire
    return out


def events(*, strip: bool = True, http10: bool = False, head: ResponseHead = CHUNKED) -> EventRelay:
    """A relay of events."""
    return EventRelay(head, http10=http10, strip=strip)


PAYLOADS = [ROLE, event("a"), event("b") + event("c"), b": ping\n\n", event("[]"), USAGE, DONE]
STREAM = b"".join(map(chunk, PAYLOADS)) + END
WANTED = b"".join(payload for payload in PAYLOADS if payload != USAGE)


def test_every_cut_of_a_stream_gives_the_same_events() -> None:
    """Cut in two anywhere: the payload is the engine's without the usage, the framing valid, the counts the same."""
    for cut in range(len(STREAM) + 1):
        relay = events()
        out = relay.feed(STREAM[:cut], 0) if cut else b""
        if not relay.done:
            out += relay.feed(STREAM[cut:], 0)
        assert plain(out) == WANTED
        assert relay.done
        assert not relay.surplus
        assert relay.used() == Usage(7, 3, 0)
        assert relay.relayed_tokens == 4


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_what_keeps_a_connection_open_is_no_token(end: bytes) -> None:
    """Comments and pings, alone, in front of others or behind them, before there is content and after."""
    idle = [b": still here", b":", b'event: ping\ndata: {"type":"ping"}', b": two\n: lines"]
    texts = [b'data: {"choices":[{"text":"\\n: no comment, event: ping"}]}', b'data: {"type":"content_block_delta"}']
    silent = b"".join(each + b"\n\n" for each in idle).replace(b"\n", end)
    spoken = b"".join(each + b"\n\n" for each in texts).replace(b"\n", end)
    for reads in (
        [silent, spoken, silent, spoken],
        [silent + spoken, silent + spoken],
        [spoken, spoken + silent],
        [silent, silent, spoken, silent, spoken],
    ):
        relay = events(strip=False)
        for read in reads:
            relay.feed(chunk(read), 0)
        assert relay.relayed_tokens == 4
        assert relay.feed(END, 0).endswith(END)
        assert relay.relayed_tokens == 4


def test_a_token_with_a_comment_of_its_own_is_one() -> None:
    """Before its data or behind them: only what has no data is passed over."""
    for text in (b"data: a\n: said\n\n", b": said\ndata: a\n\n", b"data: a\n: said\n: and more\n\n"):
        relay = events(strip=False)
        for read in (text, text + text):
            relay.feed(chunk(read), 0)
        assert relay.relayed_tokens == 3


def test_an_error_at_the_end_is_no_token() -> None:
    """An engine that gives up in the middle of a stream says so in an event of its own: nobody pays for that."""
    error = b'data: {"error":{"message":"out of memory","type":"InternalServerError","code":500}}\n\n'
    for payloads in ([event("a"), event("b"), error, DONE], [event("a") + event("b") + error]):
        relay = events()
        for data in [*map(chunk, payloads), END]:
            relay.feed(data, 0)
        assert (relay.done, relay.relayed_tokens, relay.used()) == (True, 2, None)


def test_byte_by_byte_gives_the_same_events() -> None:
    """And whatever came out so far always ends with a whole event."""
    relay = events()
    out = b""
    for at in range(len(STREAM)):
        piece = relay.feed(STREAM[at : at + 1], 0)
        out += piece
        if piece and not relay.done:
            assert relay.can_take_event
            assert plain(out + END).endswith(b"\n\n")
    assert plain(out) == WANTED


def test_whole_events_in_whole_chunks_pass_as_they_are() -> None:
    """The usual case is not touched: the very same bytes object goes on."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    data = chunk(event("b"))
    assert relay.feed(data, 0) is data


def test_the_head_waits_for_content() -> None:
    """Roles, comments and usage alone do not begin a stream; a token does, and brings them all."""
    relay = events()
    begun = []
    out = b""
    for payload in (ROLE, b": hi\n\n", event("a")):
        out += relay.feed(chunk(payload), 0)
        begun.append(relay.begun)
    assert begun == [False, False, True]
    assert plain(out + END) == ROLE + b": hi\n\n" + event("a")
    assert relay.relayed_tokens == 1


def test_a_stream_that_begins_with_an_error_does_not_begin() -> None:
    """The failure is told instead, even behind a role."""
    relay = events()
    relay.feed(chunk(ROLE), 0)
    assert relay.feed(chunk(b'data: {"error":{"message":"x"}}\n\n'), 0) == b""
    assert relay.failure
    assert not relay.begun


def test_an_error_after_content_passes() -> None:
    """What the engine says later belongs to the stream."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    assert b"error" in relay.feed(chunk(b'data: {"error":{"message":"x"}}\n\n'), 0)


def test_a_stream_without_content_begins_at_its_end() -> None:
    """An empty answer is an answer."""
    relay = events()
    out = relay.feed(chunk(ROLE) + chunk(DONE) + END, 0)
    assert plain(out) == ROLE + DONE
    assert relay.begun


def test_holding_is_bounded() -> None:
    """After 64 KiB without content the stream begins all the same."""
    relay = events()
    ping = b": " + b"x" * 8000 + b"\n\n"
    out = b""
    for _ in range(HOLD_EVENTS_BYTES // len(ping) + 1):
        out += relay.feed(chunk(ping), 0)
    assert relay.begun
    assert len(out) > HOLD_EVENTS_BYTES


def test_usage_is_stripped_between_events_of_other_line_ends() -> None:
    """What stands beside it in one read, with CRLF where it has LF, is not lost."""
    relay = events()
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
    relay.feed(chunk(event("a")), 0)
    ping = b": ping\r\n\r\n"
    assert plain(relay.feed(chunk(ping + usage + ping), 0)) == ping + ping
    assert relay.used() == Usage(7, 3, 0)


def test_a_client_that_asked_for_usage_gets_it() -> None:
    """Without stripping everything passes, and the usage is known all the same."""
    relay = events(strip=False)
    assert plain(relay.feed(STREAM, 0)) == b"".join(PAYLOADS)
    assert relay.used() == Usage(7, 3, 0)


def test_half_an_event_waits() -> None:
    """An event that is not whole is not passed on, so that an error event can always follow."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    half = event("b")
    assert relay.feed(chunk(half[:10]), 0) == b""
    assert relay.can_take_event
    assert plain(relay.feed(chunk(half[10:]), 0) + END) == half


def test_a_huge_event_passes_in_pieces() -> None:
    """An event beyond the bound is not held; until it ends no other event can be put in."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    out = relay.feed(chunk(b"data: " + b"x" * (MAX_EVENT_BYTES + 1)), 0)
    assert len(out) > MAX_EVENT_BYTES
    assert not relay.can_take_event
    relay.feed(chunk(b"\n\n"), 0)
    assert relay.can_take_event


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\r"])
def test_other_line_ends_pass(end: bytes) -> None:
    """Streams with other ends of events are relayed and counted as well."""
    relay = events()
    texts = [event("a").replace(b"\n\n", end), event("b").replace(b"\n\n", end)]
    out = relay.feed(chunk(texts[0]), 0) + relay.feed(chunk(texts[1]), 0) + relay.feed(END, 0)
    assert plain(out) == b"".join(texts)
    assert relay.relayed_tokens == 2


def test_http10_gets_a_plain_stream() -> None:
    """No chunks for who does not know them."""
    relay = events(http10=True)
    assert relay.feed(STREAM, 0) == WANTED
    assert relay.framing == b""


def test_a_stream_that_ends_with_its_connection_must_say_so() -> None:
    """Without framing only the stream's own end mark tells a whole stream from half of one."""
    whole = events(head=ENDLESS)
    out = whole.feed(event("a") + DONE, 0)
    rest = whole.close()
    assert rest is not None
    assert plain(out + rest) == event("a") + DONE
    half = events(head=ENDLESS)
    half.feed(event("a"), 0)
    assert half.close() is None


def test_bytes_behind_the_end_are_noticed_and_kept_back() -> None:
    """They belong to no answer."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    assert relay.feed(END + b"HTTP/1.1 200 OK", 0) == END
    assert relay.surplus


def test_broken_chunks_are_an_error() -> None:
    """Also in the middle of a stream that passes as it is."""
    relay = events()
    relay.feed(chunk(event("a")), 0)
    with pytest.raises(FramingError):
        relay.feed(b"zz\r\n", 0)


def test_anthropics_usage_is_put_together() -> None:
    """The prompt's tokens come at the start, the completion's at the end."""
    relay = events(strip=False)
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
    text = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"x"}}\n\n'
    end = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":4}}\n\n'
    out = b"".join(relay.feed(chunk(piece), 0) for piece in (start, text, end)) + relay.feed(END, 0)
    assert plain(out) == start + text + end
    assert relay.used() == Usage(9, 4, 0)
    relay = events(strip=False)
    relay.feed(b"".join(map(chunk, (start, text, end))) + END, 0)  # a short answer may come in one read
    assert relay.used() == Usage(9, 4, 0)


def test_a_json_answer_is_held_until_it_is_whole() -> None:
    """Not a byte before the last; then with its length, whatever the engine's framing was."""
    relay = PlainRelay(counted(10), http10=False, hold=True)
    assert relay.feed(b"01234", 0) == b""
    assert not relay.begun
    assert relay.feed(b"56789", 0) == b"0123456789"
    assert relay.framing == b"content-length: 10\r\n"
    chunks = PlainRelay(CHUNKED, http10=False, hold=True)
    assert chunks.feed(chunk(b"ab"), 0) == b""
    assert chunks.feed(chunk(b"c") + END, 0) == b"abc"
    assert chunks.framing == b"content-length: 3\r\n"


def test_a_large_json_answer_is_passed_on() -> None:
    """Beyond the bound it flows, under its own length or in chunks."""
    size = HOLD_WHOLE_BYTES + 10
    relay = PlainRelay(counted(size + 5), http10=False, hold=True)
    assert len(relay.feed(b"x" * size, 0)) == size
    assert relay.framing == b"content-length: %d\r\n" % (size + 5)
    assert relay.feed(b"12345", 0) == b"12345"
    assert relay.done
    chunks = PlainRelay(CHUNKED, http10=False, hold=True)
    out = chunks.feed(chunk(b"x" * size), 0)
    assert chunks.framing == b"transfer-encoding: chunked\r\n"
    assert plain(out + chunks.feed(END, 0)) == b"x" * size


def test_other_answers_flow_at_once() -> None:
    """Sound does not wait."""
    relay = PlainRelay(counted(10, "audio/mpeg"), http10=False, hold=False)
    assert relay.feed(b"xx01234", 2) == b"01234"
    assert relay.feed(b"56789more", 0) == b"56789"
    assert relay.surplus


def test_json_that_ends_with_its_connection_must_be_json() -> None:
    """Without framing, half an object is told from a whole one by reading it."""
    whole = PlainRelay(JSON_ENDLESS, http10=False, hold=True)
    whole.feed(b'{"a":1', 0)
    whole.feed(b"}", 0)
    assert whole.close() == b'{"a":1}'
    half = PlainRelay(JSON_ENDLESS, http10=False, hold=True)
    half.feed(b'{"a":1', 0)
    assert half.close() is None


def test_an_error_is_put_in_between_events_only() -> None:
    """While a large event goes out in pieces, reads that bring no piece of it change nothing about that."""
    relay = EventRelay(CHUNKED, http10=False, strip=False)
    pieces = event("a"), b"data: " + b"x" * MAX_EVENT_BYTES, b"x", b"\n\n"
    between = []
    for piece in pieces:
        relay.feed(chunk(piece), 0)
        between.append(relay.can_take_event)
    assert between == [True, False, False, True]
