"""A journal's traffic as requests: nothing that is known is lost, and what is guessed is counted."""

from pathlib import Path

import pytest

from penstock import __version__
from penstock.base.nouns import Call, CallRow, EngineStats, Replica, Usage
from penstock.base.prefix import ENDS, chain
from penstock.config.scenarios import Group, Policy, Slo, policy_from
from penstock.core.effects import Aboard, Carry, Effect, Record
from penstock.core.events import Arrived, Event, FleetSeen, Observed, Woke
from penstock.core.route.presets import RoundRobin
from penstock.core.spec import GateSpec, PoolSpec, QueueSpec
from penstock.drive.journal import Gap, Header, Place, Turn, header, read_placed
from penstock.sim.prompts import seen_by_gateway
from penstock.sim.recorded import BLOCK_TOKENS, Recorded, seen
from penstock.sim.replay import NotReplayable
from penstock.sim.run import simulate
from penstock.workload.request import NS, Request
from tests.helpers.journals import write_run
from tests.sim.support import request, scenario, steady

POOLS = (PoolSpec(name="p"), PoolSpec(name="q"))
FLEET = (
    Replica(id="a", url="http://a", pool="p", max_concurrent_requests=3, weight=2.0, hourly_cost=1.5),
    Replica(id="b", url="http://b", pool="p", max_concurrent_requests=3, weight=2.0, hourly_cost=1.5),
    Replica(id="c", url="http://c", pool="q"),
    Replica(id="d", url="http://d", pool="p", drain=True),
    Replica(id="e", url="http://e", pool="p", backup=True),
)


def row(id: str, at: float, outcome: str = "ok", **fields: object) -> CallRow:
    """A call's end."""
    plain: dict[str, object] = {
        "client_id": "", "tenant": "t", "key": "", "model": "m", "path": "/", "pool": "p", "replica": "a",
        "status": 200, "stream": True, "priority": 2, "attempts": 1, "latency_s": 2.0, "ttft_s": 0.5, "queue_s": 0.0,
        "usage": Usage(100, 16, 5), "relayed_tokens": 16,
    }  # fmt: skip
    return CallRow(id=id, at=at, outcome=outcome, **{**plain, **fields})  # type: ignore[arg-type]


def told(*rows: Header | Gap | Turn[Event, Effect]) -> Recorded:
    """What is made of a header and these."""
    head = header(__version__, 1, GateSpec(pools=POOLS), FLEET)
    return Recorded([(Place(Path("j"), number), each) for number, each in enumerate((head, *rows), 1)], __version__)


def came(id: str, at: float, end: CallRow | None = None, **fields: object) -> list[Turn[Event, Effect]]:
    """A call, and its end two seconds later."""
    made = [Turn[Event, Effect](at, Arrived(Call(id, **fields)), [])]  # type: ignore[arg-type]
    return made if end is None else [*made, Turn(at + 2.0, Woke(), [Record(end)])]


def test_a_call_becomes_a_request() -> None:
    """Its time, its real lengths, who it was and how long it could wait."""
    fields = {"tenant": "x", "session": "s", "priority": 1, "prompt_tokens": 90, "latency_s": 4.0}
    found = told(*came("c1", 50.0, row("c1", 50.0)), *came("c2", 51.25, row("c2", 51.25), **fields))
    first, second = found.requests(1)
    assert (first.at_ns, first.prompt_tokens, first.output_tokens) == (0, 100, 16)
    assert second == Request(
        int(1.25 * NS), 100, 16, (), BLOCK_TOKENS, "s", "x", priority=1, deadline_ns=4 * NS
    )  # fmt: skip
    assert found.unknown == 0


def test_an_answer_that_never_ended_gets_anothers_length() -> None:
    """Drawn by the seed from those that ended, longer than what had come, and within what the client allowed."""
    ended = [turn for n in range(40) for turn in came(f"e{n}", 1.0, row(f"e{n}", 1.0, usage=Usage(10, n + 1)))]
    cut = row("cut", 2.0, "died_mid_answer", usage=None, relayed_tokens=30)
    refused = row("no", 3.0, "queue_full", usage=None, relayed_tokens=0, attempts=0, replica="", status=429)
    found = told(*ended, *came("cut", 2.0, cut), *came("no", 3.0, refused, max_tokens=7), *came("open", 4.0))
    assert found.unknown == 3
    lengths = [[each.output_tokens for each in found.requests(seed)][-3:] for seed in range(50)]
    assert lengths[0] == [each.output_tokens for each in found.requests(0)][-3:]
    assert {length[0] for length in lengths} <= set(range(31, 41))
    assert max(length[1] for length in lengths) == 7
    assert len({length[2] for length in lengths}) > 10


def test_without_any_end_there_is_nothing_to_draw_from() -> None:
    """Then it is refused, with the reason."""
    with pytest.raises(NotReplayable, match="how long answers are"):
        list(told(*came("c1", 1.0)).requests(1))


def test_an_engine_that_tells_no_usage_is_believed_by_what_came() -> None:
    """Stream events with content stand for tokens, and the gateway's estimate for the prompt."""
    found = told(*came("c1", 1.0, row("c1", 1.0, usage=None, relayed_tokens=9), prompt_tokens=33))
    (only,) = found.requests(1)
    assert (only.prompt_tokens, only.output_tokens) == (33, 9)


def test_what_no_policy_could_answer_is_left_out() -> None:
    """Clients' own mistakes, and calls of other pools; who left is a call like others."""
    found = told(
        *came("bad", 1.0, row("bad", 1.0, "model_not_found", pool="", status=404)),
        *came("long", 1.0, row("long", 1.0, status=400)),
        *came("q", 1.0, row("q", 1.0, pool="q")),
        *came("gone", 1.5, row("gone", 1.5, "client_gone", status=499)),
        *came("c1", 2.0, row("c1", 2.0)),
        Gap(7),
    )
    assert [visit.call.id for visit in found.visits] == ["gone", "c1"]
    assert (found.left.mistakes, found.left.elsewhere, found.left.missing) == (2, 1, 7)


def test_the_fleet_is_the_last_one_and_keeps_its_sizes() -> None:
    """Seats, weights, prices and KV caches; who drains, stands by, or belongs to another pool is none of it."""
    stats = EngineStats(kv_tokens=3200, kv_block_tokens=32)
    found = told(Turn(1.0, FleetSeen(FLEET), []), Turn(1.0, Observed("b", stats), []))
    plain = Group(cost="fast", seats=3, weight=2.0, hourly_cost=1.5)
    assert [group.kv_blocks for group in found.groups("fast")] == [plain.kv_blocks, 100]
    assert found.groups("fast")[0] == plain
    assert told(Turn(1.0, FleetSeen(FLEET), [])).groups("fast") == (
        Group(cost="fast", seats=3, weight=2.0, hourly_cost=1.5, count=2),
    )
    changed = told(Turn(1.0, FleetSeen(FLEET[1:]), []), Turn(2.0, FleetSeen(()), []))
    assert ([replica.id for replica in changed.replicas], changed.left.fleets) == (["b"], 1)


def test_a_part_whose_beginning_is_gone_knows_fleet_and_policy() -> None:
    """The header of each part tells both."""
    found = told(*came("c1", 1.0, row("c1", 1.0)))
    assert [replica.id for replica in found.replicas] == ["a", "b"]
    assert found.pool.name == "p"


def test_prompts_share_what_their_hashes_share() -> None:
    """Two texts that begin alike for 3,000 bytes: as many leading blocks as the gateway saw shared, in the Gate's eyes
    of the simulation as well."""
    alike = b"x" * 3000
    calls = []
    for letter in (b"a", b"b"):
        prefix, length = chain([alike + letter * 3000])
        calls.append(Call("c", prefix=prefix, prompt_bytes=length, prompt_tokens=length // 4))
    shared = sum(one == other for one, other in zip(calls[0].prefix, calls[1].prefix, strict=True))
    assert 0 < shared < len(calls[0].prefix)
    blocks = [seen(call) for call in calls]
    assert sum(one == other for one, other in zip(*blocks, strict=True)) == ENDS[shared] // (4 * BLOCK_TOKENS)
    again = [
        seen_by_gateway(request(0.0, call.prompt_tokens, blocks=mine, block_tokens=BLOCK_TOKENS), number)
        for number, (call, mine) in enumerate(zip(calls, blocks, strict=True))
    ]
    assert [len(each) for each in again] == [len(call.prefix) for call in calls]
    assert sum(one == other for one, other in zip(*again, strict=True)) == shared


def test_a_recorded_run_comes_out_again_when_it_is_simulated(tmp_path: Path) -> None:
    """A journal of a simulated run: what was measured is what came out, and its traffic under its own policy over its
    own engines is the same run."""
    policy = Policy(strategy=RoundRobin(), queue=QueueSpec(timeout_s=3.0))
    made = scenario(policy=policy)
    requests = [*steady(100, 0.002, prompt_tokens=300), *[request(0.5 + n / 100, 40, 50 + n) for n in range(50)]]
    path = tmp_path / "journal"
    write_run(path, requests, policy)
    found = Recorded(read_placed(path, Event, Effect), __version__)
    ran = simulate(made, policy, requests, 1)
    measured = found.measured(Slo())
    for name in (
        "requests",
        "ok",
        "ttft_mean_s",
        "e2e_p99_s",
        "goodput",
        "output_tokens_per_s",
        "outcomes",
        "replicas",
    ):
        assert getattr(measured, name) == pytest.approx(getattr(ran, name)), name
    assert policy_from(found.pool) == policy
    assert found.groups("fast") == (Group(count=2, cost="fast", seats=4, kv_blocks=8192, block_size=16),)
    assert simulate(made, policy_from(found.pool), found.requests(1), 1) == ran


def test_calls_that_may_go_together_may_do_so_again() -> None:
    """What is alike is known from the journal; an embedding has no tokens, however it ended; and how many went together
    really, is told beside the simulations."""
    fields = {"path": "/v1/embeddings", "prompt_tokens": 30}
    read = Usage(40)
    turns: list[Turn[Event, Effect]] = [
        Turn(1.0, Arrived(Call(id, **fields), alike), [])  # type: ignore[arg-type]
        for id, alike in (("c1", "k"), ("c2", "k"), ("c3", "k"), ("c4", ""))
    ]
    group = Carry("group/c1", (Aboard("c1", 0.0), Aboard("c2", 0.0)))
    turns.append(Turn(1.0, Woke(), [group]))
    turns.append(Turn(1.1, Woke(), [Record(row(id, 1.0, usage=read)) for id in ("c1", "c2", "c4")]))
    turns.append(Turn(1.1, Woke(), [Carry("group/c1"), Record(row("c3", 1.0, "client_gone", usage=None, status=499))]))
    found = told(*turns)
    again = list(found.requests(1))
    assert [(each.alike, each.prompt_tokens, each.output_tokens) for each in again] == [
        ("k", 40, 0), ("k", 40, 0), ("k", 30, 0), ("", 40, 1),
    ]  # fmt: skip
    measured = found.measured(Slo())
    assert (measured.grouped, measured.calls_per_group) == (0.5, 2.0)


def test_calls_that_go_on_are_no_answers() -> None:
    """At the journal's end: they count as requests, and as failed."""
    measured = told(*came("c1", 1.0, row("c1", 1.0)), *came("c2", 2.0)).measured(Slo())
    assert (measured.requests, measured.ok, measured.failed) == (2, 1, 1)
