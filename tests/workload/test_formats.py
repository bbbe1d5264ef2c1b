"""Traces are read exactly, or refused with file, line and field."""

import gzip
from collections.abc import Iterator
from importlib.resources import files

import pytest

from penstock.base.nouns import PRIORITIES
from penstock.workload.formats import read_sizes, read_trace, stream_trace
from penstock.workload.lines import TraceError
from penstock.workload.request import Request

AZURE_HEAD = b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
AZURE = AZURE_HEAD + b"2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
MOONCAKE = (
    b'{"timestamp": 27482, "input_length": 1955, "output_length": 52, "hash_ids": [46, 47, 48, 2353]}\n'
    b'{"timestamp": 30535, "input_length": 600, "output_length": 26, "hash_ids": [46, 2366]}\n'
)


def shipped(name: str) -> bytes:
    """The bytes of a trace that ships with the package."""
    return files("penstock.workload").joinpath("data", name).read_bytes()


def test_azure_rows() -> None:
    """Azure's wall-clock ticks become seconds after the first request."""
    first, second = read_trace(AZURE, "a.csv")
    assert first == Request(0, 374, 44)
    assert second.at_s == pytest.approx(4.314579, abs=1e-6)
    assert (second.prompt_tokens, second.output_tokens) == (396, 109)


def test_azure_times_with_a_zone() -> None:
    """The 2024 form of the Azure traces, with a UTC offset, reads the same way."""
    data = AZURE_HEAD + b"2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:00.017335+00:00,2399,6\n"
    assert read_trace(data, "a.csv")[1].at_s == pytest.approx(0.007405, abs=1e-6)


def test_mooncake_rows() -> None:
    """Mooncake's milliseconds and prefix blocks arrive as seconds and block ids of 512 tokens."""
    first, second = read_trace(MOONCAKE, "m.jsonl")
    assert (first.at_s, first.prompt_tokens, first.output_tokens) == (0.0, 1955, 52)
    assert first.blocks[:3] == (46, 47, 48)
    assert first.block_tokens == 512
    assert second.at_s == pytest.approx(3.053)


def test_own_json_lines() -> None:
    """Every field of our own JSON lines is read, and the optional ones may be left out."""
    data = (
        b'{"at_s": 1, "prompt_tokens": 40, "output_tokens": 5, "blocks": [7, 8], "block_tokens": 16,'
        b' "session": "s1", "tenant": "t", "model": "m"}\n'
        b'\n{"at_s": 1.5, "prompt_tokens": 4, "output_tokens": 0}\n'
    )
    first, second = read_trace(data, "own.jsonl")
    assert first == Request(0, 40, 5, (7, 8), 16, "s1", "t", "m")
    assert second == Request(500_000_000, 4, 0)


def test_own_csv() -> None:
    """Our own CSV carries the same, with block ids separated by spaces and columns in any order."""
    data = b"output_tokens,at_s,prompt_tokens,blocks,block_tokens,session\n5,0,40,7 8,16,s1\n6,2.5,4,,,\n"
    assert read_trace(data, "own.csv") == [Request(0, 40, 5, (7, 8), 16, "s1"), Request(2_500_000_000, 4, 6)]


def test_rows_are_sorted_by_arrival() -> None:
    """Rows out of order come out in order of arrival, and equal times keep the file's order."""
    data = b"at_s,prompt_tokens,output_tokens\n9,1,1\n5,2,1\n9,3,1\n"
    assert [(r.at_s, r.prompt_tokens) for r in read_trace(data, "x")] == [(0.0, 2), (4.0, 1), (4.0, 3)]


def test_gzip_bom_and_crlf() -> None:
    """Gzip, several gzip members, a byte-order mark and CRLF change nothing."""
    plain = read_trace(AZURE, "a")
    assert read_trace(gzip.compress(AZURE, mtime=0), "a") == plain
    assert read_trace(gzip.compress(AZURE[:50], mtime=0) + gzip.compress(AZURE[50:]), "a") == plain
    assert read_trace(b"\xef\xbb\xbf" + AZURE.replace(b"\n", b"\r\n"), "a") == plain


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            AZURE + b"2023-11-16 18:15:51.1,abc,3\n",
            "t, line 4, ContextTokens: expected a whole number from 1 to 10,000,000, found 'abc'",
        ),
        (AZURE + b"2023-11-16 18:15:51.1,0,3\n", "line 4, ContextTokens"),
        (AZURE + b"yesterday,5,3\n", "line 4, TIMESTAMP: expected a time like"),
        (AZURE + b"2023-11-16 18:15:51.1,5\n", "line 4: expected 3 columns as in the header, found 2"),
        (AZURE + b'"2023\n', "line 4: expected a CSV row"),
        (MOONCAKE + b"{oops}\n", "line 3: expected a JSON object"),
        (MOONCAKE + b"[1]\n", "line 3: expected a JSON object"),
        (
            MOONCAKE + b'{"timestamp": 1, "input_length": 5, "output_length": 2, "hash_ids": [1, "x"]}',
            "line 3, hash_ids: expected a list of whole numbers",
        ),
        (MOONCAKE + b'{"timestamp": -1, "input_length": 5, "output_length": 2}', "line 3, timestamp: expected a num"),
        (MOONCAKE + b'{"timestamp": true, "input_length": 5, "output_length": 2}', "line 3, timestamp: expected"),
        (MOONCAKE + b'{"timestamp": 1, "input_length": 5.5, "output_length": 2}', "line 3, input_length"),
        (b'{"at_s": 1, "prompt_tokens": 5, "output_tokens": 2, "blocks": [1]}', "line 1, block_tokens: expected a"),
        (b"a,b,c\n1,2,3\n", "t, line 1: found the fields 'a, b, c'; known formats"),
        (b'{"a": 1}\n', "t, line 1: found the fields 'a'; known formats"),
        (b"", "t: the file is empty"),
        (b"at_s,prompt_tokens,output_tokens\n", "has a header and no request"),
        (b"at_s,prompt_tokens,output_tokens\n1,2,\xff\n", "t, line 2: expected UTF-8"),
        (b"\x1f\x8bnonsense", "expected intact gzip data"),
        (gzip.compress(AZURE, mtime=0)[:-20], "expected intact gzip data, but the file ends early"),
        (b"[" * 100_000, "found the fields"),
        (b'{"a":' * 100_000, "line 1: expected a JSON object"),
    ],
)
def test_mistakes_are_located(data: bytes, message: str) -> None:
    """A mistake is reported with the file's name, its line, its field and what was expected."""
    with pytest.raises(TraceError) as caught:
        read_trace(data, "t")
    assert message in str(caught.value)


def test_shipped_azure_sample() -> None:
    """The shipped conversation trace holds 2,000 real requests over seven minutes."""
    requests = read_trace(shipped("azure_conv_2023.csv.gz"), "azure")
    assert len(requests) == 2000
    assert requests[0] == Request(0, 374, 44)
    assert requests[-1].at_s == pytest.approx(424.2595, abs=1e-3)


def test_shipped_mooncake_sample() -> None:
    """The shipped Mooncake trace shares prefixes: some blocks occur in many requests."""
    requests = read_trace(shipped("mooncake_conversation.jsonl.gz"), "mooncake")
    assert len(requests) == 500
    assert sum(request.blocks[0] == 0 for request in requests) > 100
    assert all(len(r.blocks) == -(-r.prompt_tokens // 512) for r in requests)


def test_shipped_traces_are_attributed() -> None:
    """Every shipped trace is named in the attribution beside it, with its licence."""
    text = shipped("ATTRIBUTION.md").decode()
    folder = files("penstock.workload").joinpath("data")
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".gz")]
    assert len(names) == 2
    assert all(name in text for name in names)
    assert "CC-BY 4.0" in text
    assert "Apache License 2.0" in text


def test_burstgpt() -> None:
    """BurstGPT's rows are read with their model and, where the file has it, their session."""
    data = (
        b"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        b"5,7,1,ChatGPT,472,18,490,Conversation log\n45.5,,1,GPT-4,10,0,10,API log\n"
    )
    first, second = read_trace(data, "b.csv")
    assert first == Request(0, 472, 18, session="7", model="ChatGPT")
    assert second == Request(40_500_000_000, 10, 0, model="GPT-4")


def test_every_field_of_our_own() -> None:
    """Adapter, priority, turn, pause and deadline are read, times to the nanosecond."""
    data = (
        b'{"at_s": 1, "prompt_tokens": 4, "output_tokens": 5}\n'
        b'{"at_s": 4194305.123456789, "prompt_tokens": 4, "output_tokens": 5, "adapter": "a", "priority": "batch",'
        b' "turn": 2, "think_s": 0.000000001, "deadline_s": 2.5}\n'
    )
    want = Request(4194304_123456789, 4, 5, adapter="a", priority=4, turn=2, think_ns=1, deadline_ns=2_500_000_000)
    assert read_trace(data, "x")[1] == want
    assert PRIORITIES[want.priority] == "batch"


@pytest.mark.parametrize("field", ["priority", "turn", "think_s", "deadline_s"])
def test_mistakes_in_the_newer_fields(field: str) -> None:
    """A newer field that holds nonsense is told by its name and line."""
    data = b'{"at_s": 1, "prompt_tokens": 4, "output_tokens": 5, "%s": "soon"}' % field.encode()
    with pytest.raises(TraceError, match=f"x, line 1, {field}: expected"):
        read_trace(data, "x")


def test_streaming_is_reading() -> None:
    """A stream gives what reading the whole file gives, however the bytes are cut into pieces."""
    want = read_trace(MOONCAKE, "m")
    packed = gzip.compress(MOONCAKE, mtime=0)
    for data in (MOONCAKE, packed):
        for width in (1, 7, 1000):
            pieces = [data[at : at + width] for at in range(0, len(data), width)]
            assert list(stream_trace(pieces, "m")) == want


def test_a_stream_puts_near_rows_in_order() -> None:
    """Rows that are a few places off come out in order; rows that are further off than is held back are refused."""
    rows = b"".join(b"%d,1,1\n" % at for at in (3, 1, 2, 5, 4))
    data = b"at_s,prompt_tokens,output_tokens\n" + rows
    assert [request.at_s for request in stream_trace([data], "x", reorder=3)] == [0, 1, 2, 3, 4]
    with pytest.raises(TraceError, match="request 5: it arrives before one that stands over 1 rows above; sort"):
        list(stream_trace([b"at_s,prompt_tokens,output_tokens\n5,1,1\n5,1,1\n6,1,1\n7,1,1\n3,1,1\n"], "x", reorder=1))


def test_a_stream_holds_back_little() -> None:
    """The first requests are out before the file is read to its end."""
    read = 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        yield b"at_s,prompt_tokens,output_tokens\n"
        for at in range(1000):
            read += 1
            yield b"%d,1,1\n" % at

    stream = stream_trace(pieces(), "x", reorder=10)
    assert next(stream).at_ns == 0
    assert read < 20


def test_sizes() -> None:
    """Lengths come from any trace in the file's order, and from Vidur's files without times, which are no trace."""
    data = b"num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.8\n2015,156,2171,12.9\n"
    assert [list(column) for column in read_sizes([data], "v.csv")] == [[3772, 2015], [54, 156]]
    assert [list(column) for column in read_sizes([MOONCAKE], "m")] == [[1955, 600], [52, 26]]
    with pytest.raises(TraceError, match=r"v\.csv, line 1: .*; it has lengths and no times of arrival"):
        read_trace(data, "v.csv")
    with pytest.raises(TraceError, match="a header and no request"):
        read_sizes([b"at_s,prompt_tokens,output_tokens\n"], "x")
