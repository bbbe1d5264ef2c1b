"""When requests go out: open loop never waits for answers, closed loop always does, and every bound holds."""

import asyncio
import resource
from collections.abc import Callable
from itertools import islice

import msgspec
import pytest

from penstock.loadgen.client import Client, parse_target
from penstock.loadgen.keys import Keyring, Tenant
from penstock.loadgen.run import Plan, Replay, arrivals, body_of, clip, planned, raise_file_limit, wishes_of
from penstock.loadgen.tally import Slo, Tally
from penstock.workload.request import NS
from penstock.workload.request import Request as Row
from tests.loadgen.scripted import Request, Script, Server, always, plain, stream, with_server


def trace(*at_s: float) -> list[Row]:
    """Small requests at these times."""
    return [Row(round(at * NS), 10, 2) for at in at_s]


def due(plan: Plan, *at_s: float, most: int = 20) -> list[float]:
    """When the requests of a plan are due."""
    return [due_s for _, due_s, _ in islice(arrivals(trace(*at_s), plan), most)]


def test_arrivals() -> None:
    """Arrivals follow the trace's clock divided by the speed, up to limit and duration."""
    assert due(Plan(), 0, 1, 3) == [0, 1, 3]
    assert due(Plan(speed=2), 0, 1, 3) == [0, 0.5, 1.5]
    assert due(Plan(limit=2), 0, 1, 3) == [0, 1]
    assert due(Plan(duration_s=1), 0, 1, 3) == [0, 1]
    assert due(Plan(duration_s=1, speed=4), 0, 1, 3) == [0, 0.25, 0.75]


def test_repeated_arrivals() -> None:
    """A repeated trace goes on after its mean gap, numbers going up, so that its prompts are new ones."""
    plan = Plan(repeat=True, limit=5)
    assert due(plan, 0, 1, 2) == [0, 1, 2, 3, 4]
    assert [number for number, _, _ in arrivals(trace(0, 1, 2), plan)] == [0, 1, 2, 3, 4]
    assert due(Plan(repeat=True), 0, most=3) == [0, 1, 2]
    assert due(Plan(repeat=True, duration_s=4.5), 0, 2) == [0, 2, 4]


@pytest.mark.parametrize(
    ("plan", "want"),
    [
        (Plan(), 3),
        (Plan(limit=2), 2),
        (Plan(repeat=True, duration_s=5), 6),
        (Plan(repeat=True), None),
        (Plan(closed=2, limit=2), 2),
        (Plan(closed=2, duration_s=5), None),
    ],
)
def test_planned(plan: Plan, want: int | None) -> None:
    """How many there will be is known where the answers do not decide it."""
    assert planned(trace(0, 1, 2), plan) == want


def test_clip() -> None:
    """Sizes are cut to the plan's bounds, and only then."""
    row = Row(0, 100, 50, (1,), 16)
    assert clip(row, Plan()) is row
    assert clip(row, Plan(max_prompt_tokens=100, max_output_tokens=50)) is row
    assert clip(row, Plan(max_prompt_tokens=30)) == Row(0, 30, 50, (1,), 16)
    assert clip(row, Plan(max_output_tokens=1)).output_tokens == 1


def test_bodies() -> None:
    """The body asks for the trace's output length, for usage where it streams, and names the session's user."""
    row = Row(0, 10, 0, session="s1", model="of-the-trace")
    chat = msgspec.json.decode(body_of(row, "hi", Plan(default_model="first")))
    assert chat == {
        "model": "of-the-trace", "max_tokens": 1, "ignore_eos": True, "stream": True, "user": "s1",
        "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    plain_row = Row(0, 10, 7)
    whole = msgspec.json.decode(body_of(plain_row, "hi", Plan(api="completions", stream=False, default_model="first")))
    assert whole == {"model": "first", "max_tokens": 7, "ignore_eos": True, "stream": False, "prompt": "hi"}
    assert msgspec.json.decode(body_of(row, "hi", Plan(model="mine")))["model"] == "mine"


def test_an_embedding_has_an_input_and_no_stream() -> None:
    """Nothing is asked of the length of an answer that has none; the session's user is named."""
    plan = Plan(api="embeddings", default_model="first")
    assert msgspec.json.decode(body_of(Row(0, 10, 0), "hi", plan)) == {"model": "first", "input": "hi"}
    assert msgspec.json.decode(body_of(Row(0, 10, 0, session="s1"), "hi", plan))["user"] == "s1"


def test_adapter_is_the_model() -> None:
    """An adapter of the workload is asked for by its name as the model, as engines serve them; --model is above it."""
    row = Row(0, 10, 1, model="base", adapter="mine")
    assert msgspec.json.decode(body_of(row, "hi", Plan()))["model"] == "mine"
    assert msgspec.json.decode(body_of(row, "hi", Plan(model="typed")))["model"] == "typed"


def test_wishes() -> None:
    """Priority and deadline go out as Penstock's headers, and nothing where the workload says nothing."""
    assert wishes_of(Row(0, 10, 1)) == b""
    assert wishes_of(Row(0, 10, 1, priority=4)) == b"x-penstock-priority: batch\r\n"
    both = wishes_of(Row(0, 10, 1, priority=0, deadline_ns=2_500_000_000))
    assert both == b"x-penstock-priority: critical\r\nx-penstock-timeout: 2.5\r\n"


def test_wishes_are_sent() -> None:
    """A request with a priority carries its header over the wire."""
    seen: list[str | None] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(request.headers.get("x-penstock-priority"))
        await always(stream("a"))(request, writer)

    replayed(script, [Row(0, 10, 1, priority=3), Row(0, 10, 1)], Plan())
    assert sorted(map(str, seen)) == ["None", "low"]


def test_tenants_keys_are_sent() -> None:
    """Each request carries the key of its tenant and no other, and is counted as that tenant's."""
    seen: list[tuple[str, str | None]] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append((request.headers["authorization"], request.headers.get("x-penstock-priority")))
        await always(stream("a"))(request, writer)

    ring = Keyring({"a": Tenant("sk-1"), "b": Tenant("sk-2")}, seed=1)
    rows = [Row(0, 10, 1, tenant="a", priority=3), Row(0, 10, 1, tenant="b"), Row(0, 10, 1, tenant="a")]
    tally = replayed(script, rows, Plan(), keys=ring)
    assert sorted(seen, key=str) == [("Bearer sk-1", "low"), ("Bearer sk-1", None), ("Bearer sk-2", None)]
    assert {name: row.requests for name, row in tally.tenants.items()} == {"a": 2, "b": 1}


def replayed(
    script: Script, requests: list[Row], plan: Plan, during: Callable[[Server, Replay], None] | None = None,
    keys: Keyring | None = None,
) -> Tally:  # fmt: skip
    """The tally of a plan that was run against a server with this script; `during` is called at every tick."""

    async def use(server: Server) -> Tally:
        tally = Tally(Slo(), stream=plan.stream)
        client = Client(parse_target(server.url))
        replay = Replay(
            requests, plan, client, tally, lambda _: during(server, replay) if during else None, 0.002, keys
        )
        async with asyncio.timeout(10):
            await replay.run()
        return tally

    return with_server(script, use)


def test_answers() -> None:
    """A replay against a good server ends with everything good, its tokens counted."""
    tally = replayed(always(stream("a", "b", headers=b"x-penstock-replica: r1\r\n")), trace(0, 0, 0.01, 0.02), Plan())
    assert (tally.sent, tally.ok, tally.good, tally.cut, tally.not_sent) == (4, 4, 4, 0, 0)
    assert (tally.prompt_tokens, tally.output_tokens, tally.cached_tokens) == (28, 8, 12)
    assert tally.replicas["r1"].requests == 4


def test_open_loop_is_open() -> None:
    """A server that answers nobody until the last request has come gets every request at its time all the same."""
    everybody = 20

    async def main() -> tuple[Tally, int]:
        all_here = asyncio.Event()
        seen = 0

        async def script(request: Request, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            seen += 1
            if seen == everybody:
                all_here.set()
            await all_here.wait()
            writer.write(stream("a"))

        server = Server(script)
        await server.start()
        tally = Tally(Slo())
        rows = trace(*(0.005 * number for number in range(everybody)))
        async with asyncio.timeout(10):
            await Replay(rows, Plan(), Client(parse_target(server.url)), tally).run()
        await server.stop()
        return tally, server.connections

    tally, connections = asyncio.run(main())
    assert (tally.ok, connections) == (everybody, everybody)
    assert tally.lateness.count == everybody
    assert tally.ttft.max + tally.lateness.max >= 0.09  # the first waited until the last was there


def test_concurrency_is_bounded() -> None:
    """What would pass the bound is not sent and counted as such; the replay does not wait for room."""
    release = asyncio.Event()

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(stream("a"))

    def let_go(server: Server, replay: Replay) -> None:
        if len(server.requests) == 3:
            release.set()

    tally = replayed(script, trace(*[0.0] * 10), Plan(concurrency=3), let_go)
    assert (tally.sent, tally.ok, tally.not_sent) == (3, 3, 7)


def test_closed_loop() -> None:
    """Closed loop never has more in flight than users, and sends all there is, whatever the trace's times."""
    in_flight, most = 0, 0

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.001)
        in_flight -= 1
        writer.write(plain(200, b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'))

    tally = replayed(script, trace(*range(0, 2000, 100)), Plan(closed=3, stream=False))
    assert (tally.sent, tally.ok, most) == (20, 20, 3)
    assert (tally.lateness.count, tally.ttft.count, tally.e2e.count) == (0, 0, 20)


def test_closed_loop_for_a_time() -> None:
    """In closed loop the duration ends the sending, and what is in flight is waited for."""
    tally = replayed(always(stream("a")), trace(0), Plan(closed=2, duration_s=0.05, repeat=True))
    assert tally.done == tally.sent >= 2
    assert (tally.cut, tally.ok) == (0, tally.sent)


@pytest.mark.parametrize("closed", [None, 2])
def test_halt(closed: int | None) -> None:
    """A halt ends waiting and sending at once; what was in flight counts as cut."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    def stop(server: Server, replay: Replay) -> None:
        if len(server.requests) == 2:
            replay.halt()
            replay.halt()

    tally = replayed(script, trace(0, 0, 1000), Plan(closed=closed), stop)
    assert (tally.sent, tally.done, tally.cut, tally.interrupted) == (2, 0, 2, True)


def test_errors_do_not_stop_it() -> None:
    """Failing answers are counted, and the replay goes on."""
    tally = replayed(always(plain(503, b'{"error":{"code":"no_replica"}}')), trace(0, 0.001, 0.002), Plan())
    assert tally.errors == {"503 no_replica": 3}


def test_prompts_share_what_the_trace_shares() -> None:
    """On the wire, equal blocks are equal text, and a session becomes the user."""
    rows = [Row(0, 40, 1, (1, 2), 16, session="s"), Row(0, 40, 1, (1, 3), 16)]
    bodies: list[str] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        bodies.append(request.body["messages"][0]["content"])
        writer.write(stream("a"))

    replayed(script, rows, Plan())
    assert bodies[0][:63] == bodies[1][:63]
    assert bodies[0][:80] != bodies[1][:80]


def test_file_limit() -> None:
    """The soft limit of open files is lifted to the hard one, and some are left for other uses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        fits = raise_file_limit()
        assert fits >= 1
        assert fits < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
