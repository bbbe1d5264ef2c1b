"""Choosing by prefix caches: a match draws a call within the load bound, and cold prompts spread."""

from collections import Counter
from random import Random
from typing import Any

from penstock.base.nouns import Call, Usage
from penstock.base.prefix import chain
from penstock.base.rand import Rand
from penstock.core.effects import Record, Send
from penstock.core.events import Ended, Failed, FleetSeen, Observed, Probed, Woke
from penstock.core.load import Seat
from penstock.core.prefix import Index
from penstock.core.route.pipeline import Pipeline, build
from penstock.core.route.prefixed import Prefix
from penstock.core.route.presets import Adaptive, AdaptiveClassic, PrefixAware, Strategy
from penstock.core.spec import ProbeSpec
from tests.core.playbook import HEDGE, USED, arrived, call, fleet, gate, house, pool, replica, seat, sends, stats, tell

COMMON = Random(1).randbytes(8192)


def prompt(seed: int, common: bytes = b"", size: int = 1024) -> dict[str, Any]:
    """The fields of a call whose prompt begins with this text and goes on like no other."""
    blocks, length = chain([common + Random(seed).randbytes(size)])
    return {"prefix": blocks, "prompt_bytes": length, "prompt_tokens": length // 4}


def pipeline(strategy: Strategy | None = None, *some: Seat) -> Pipeline:
    """A strategy over these seats."""
    made = build(strategy or PrefixAware(), Rand(1))
    made.changed(some)
    return made


def send(made: Pipeline, asked: Call, to: Seat) -> None:
    """The call goes there."""
    assert made.prefix is not None
    made.prefix.index.sent(asked.prefix, asked.model, asked.prompt_bytes, to.cache)


def test_a_score_is_the_share_that_is_cached_less_where_that_is_little() -> None:
    """Nothing where nothing is cached; most of the share for thousands of tokens, half of it for 256."""
    a, b = seat("a"), seat("b", 1)
    scorer = Prefix(Index(100_000, 1000), 1.25)
    scorer.changed([a, b])
    scorer.index.sent(chain([COMMON])[0], "m", 8192, a.cache)
    long, short = call(**prompt(2, COMMON)), call(**prompt(3, COMMON[:1024], 0))
    assert scorer.score(long, [a, b], 0.0) == [8192 / 9216 * 2048 / 2304, 0.0]
    assert scorer.score(short, [a, b], 0.0) == [0.5, 0.0]
    assert scorer.score(call(), [a, b], 0.0) == [0.0, 0.0]


def test_a_match_draws_a_call_to_a_replica_that_is_not_the_least_loaded() -> None:
    """As long as its load is within the bound."""
    a, b = seat("a", in_flight=3), seat("b", 1, in_flight=2)
    made = pipeline(None, a, b)
    send(made, call(**prompt(1, COMMON)), a)
    assert made.choose(call(**prompt(2, COMMON)), [a, b], 0.0) is a
    assert made.choose(call(**prompt(3)), [a, b], 0.0) is b
    a.in_flight = 5  # of 8 with this one, 1.25 times the mean is 5, and the only holder may have one more
    assert made.choose(call(**prompt(2, COMMON)), [a, b], 0.0) is a
    send(made, call(**prompt(1, COMMON)), b)
    assert made.choose(call(**prompt(2, COMMON)), [a, b], 0.0) is b
    assert made.prefix is not None
    made.prefix.index.forget(b.cache)
    a.in_flight, b.in_flight = 7, 1
    assert made.choose(call(**prompt(2, COMMON)), [a, b], 0.0) is b


def test_the_longest_match_wins_over_a_shorter_one() -> None:
    """A conversation returns to its replica although all know its system prompt."""
    a, b = seat("a"), seat("b", 1)
    made = pipeline(None, a, b)
    send(made, call(**prompt(1, COMMON[:2048])), a)
    send(made, call(**prompt(2, COMMON)), b)
    b.in_flight = 1
    assert made.choose(call(**prompt(3, COMMON)), [a, b], 0.0) is b


def test_a_hot_prefix_spreads_over_all() -> None:
    """Forty calls that never end, all alike, over four replicas: nobody is far above ten, and everybody has it."""
    some = [seat(f"r{n}", n, max_concurrent_requests=100) for n in range(4)]
    made = pipeline(None, *some)
    for _ in range(40):
        chosen = made.choose(call(**prompt(1, COMMON)), some, 0.0)
        assert chosen is not None
        send(made, call(**prompt(1, COMMON)), chosen)
        chosen.in_flight += 1
    assert max(each.in_flight for each in some) <= 13
    assert all(each.cache.blocks for each in some)


def test_cold_prompts_go_around_where_loads_are_equal() -> None:
    """The replica whose last cold prompt is longest ago is next: creating caches spreads, by no lot."""
    some = [seat(f"r{n}", n) for n in range(4)]
    made = pipeline(None, *some)
    went = []
    for number in range(40):
        asked = call(**prompt(number))
        chosen = made.choose(asked, some, 0.0)
        assert chosen is not None
        send(made, asked, chosen)
        went.append(chosen.id)
    assert set(Counter(went).values()) == {10}


def test_a_new_replica_is_neither_flooded_nor_starved() -> None:
    """With an empty cache it gets cold prompts in its turn like the others, and no prompt because it is empty."""
    some = [seat(f"r{n}", n) for n in range(3)]
    made = pipeline(None, *some)
    for number in range(30):
        asked = call(**prompt(number))
        send(made, asked, made.choose(asked, some, 0.0) or some[0])
    some.append(seat("new", 3))
    made.changed(some)
    went: Counter[str] = Counter()
    for number in range(100, 140):
        asked = call(**prompt(number))
        chosen = made.choose(asked, some, 0.0)
        assert chosen is not None
        send(made, asked, chosen)
        went[chosen.id] += 1
    assert went["new"] == 10


def test_who_has_it_joins_the_sample_of_a_large_fleet() -> None:
    """Of two hundred replicas one has the prompt: it is found every time, unless it has no free seat."""
    some = [seat(f"r{n}", n, max_concurrent_requests=8) for n in range(200)]
    made = pipeline(None, *some)
    send(made, call(**prompt(1, COMMON)), some[150])
    assert all(made.choose(call(**prompt(n, COMMON)), some, 0.0) is some[150] for n in range(2, 50))
    some[150].in_flight = 8
    assert all(made.choose(call(**prompt(n, COMMON)), some, 0.0) is not some[150] for n in range(2, 20))
    without = [each for each in some if each is not some[150]]  # it has failed this call, or serves another model
    some[150].in_flight = 0
    assert all(made.choose(call(**prompt(n, COMMON)), without, 0.0) is not some[150] for n in range(2, 20))


def test_the_classic_preset_looks_at_no_prompt() -> None:
    """Four plain weights; adaptive with a prefix weight of 0 as well; adaptive has a fifth, read only with a prompt."""
    assert pipeline(AdaptiveClassic()).prefix is None
    assert pipeline(Adaptive(prefix=0.0)).prefix is None
    assert len(pipeline(AdaptiveClassic()).scorers) == 4
    a, b = seat("a", in_flight=1), seat("b", 1)
    for strategy, chosen in ((Adaptive(), a), (AdaptiveClassic(), b)):
        made = pipeline(strategy, a, b)
        if made.prefix is not None:
            send(made, call(**prompt(1, COMMON)), a)
        assert made.choose(call(**prompt(2, COMMON)), [a, b], 0.0) is chosen
        assert made.choose(call(), [a, b], 0.0) is b


def test_without_a_load_weight_load_breaks_ties() -> None:
    """A strategy of prefixes alone still has an opinion about calls whose prompt nobody knows."""
    a, b = seat("a", in_flight=1), seat("b", 1)
    assert pipeline(PrefixAware(load=0.0), a, b).choose(call(), [a, b], 0.0) is b


def test_the_gate_learns_where_calls_went_and_rows_tell_the_estimate() -> None:
    """The second call of a prefix follows the first, and its row says how much was believed to be cached."""
    machine = house("a", "b", seats=8, strategy=PrefixAware())
    first = sends(machine.on(arrived("c1", **prompt(1, COMMON)), 0.0))[0][1]
    assert sends(machine.on(arrived("c2", **prompt(2, COMMON)), 0.0)) == [("c2", first)]
    rows = [order.row for order in machine.on(Ended("c2", 1, 200, USED), 1.0) if isinstance(order, Record)]
    assert [row.cached_estimate for row in rows] == [2303]


def test_the_estimate_is_of_the_replica_that_answered() -> None:
    """Where the call was sent to another one meanwhile, nothing had been estimated of the one that answers."""
    machine = house("a", "b", seats=8, strategy=PrefixAware(), hedge=HEDGE)
    used = Usage(prompt_tokens=2304, completion_tokens=5)
    machine.on(arrived("c1", **prompt(1, COMMON)), 0.0)
    machine.on(Ended("c1", 1, 200, used), 0.1)
    for winner, estimate in ((1, 0), (2, 2303)):  # both have it the second time
        id, at = f"d{winner}", 10.0 * winner
        machine.on(arrived(id, **prompt(2, COMMON)), at)
        hedged = [order for order in machine.on(Woke(), at + 5.0) if isinstance(order, Send)]
        assert len(hedged) == 1
        rows = [order.row for order in machine.on(Ended(id, winner, 200, used), at + 6.0) if isinstance(order, Record)]
        assert [row.cached_estimate for row in rows] == [estimate]


def test_an_alias_shares_its_model_s_prompts() -> None:
    """The served name counts, not the one that the client used."""
    machine = gate(pool(strategy=PrefixAware()), aliases={"alias": "m"})
    machine.on(fleet("a", "b", max_concurrent_requests=8), 0.0)
    first = sends(machine.on(arrived("c1", **prompt(1, COMMON)), 0.0))[0][1]
    assert sends(machine.on(arrived("c2", model="alias", **prompt(2, COMMON)), 0.0)) == [("c2", first)]


def test_a_replica_that_left_was_ill_or_was_started_anew_is_forgotten() -> None:
    """Its cache is empty or gone: nothing draws calls there any more."""

    def knows(*facts: object) -> bool:
        machine = house("a", "b", seats=8, strategy=PrefixAware(), probe=ProbeSpec(unhealthy_after=1))
        tell(machine, Probed("a", ok=True), Probed("b", ok=True), now=0.0)
        machine.on(Observed("a", stats(prefix_queries=9, prefix_hits=0)), 0.0)
        machine.on(Observed("b", stats(prefix_queries=9, prefix_hits=0)), 0.0)
        first = sends(machine.on(arrived("c1", **prompt(1, COMMON)), 0.0))[0][1]
        for make in facts:
            machine.on(make(first), 0.0)  # type: ignore[operator]
        prefix = machine._fleet.pools["main"].pipeline.prefix
        assert prefix is not None
        return len(prefix.index) > 0

    both = (replica("a", max_concurrent_requests=8), replica("b", max_concurrent_requests=8))
    assert knows()
    assert knows(lambda it: Failed("c1", 1, "upstream_5xx", 500))
    assert not knows(lambda it: FleetSeen(tuple(each for each in both if each.id != it)))
    assert not knows(lambda it: Probed(it, ok=False))
    assert not knows(lambda it: Observed(it, stats(prefix_queries=1, prefix_hits=0)))
