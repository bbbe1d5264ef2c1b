"""Playbooks of calls whose answer is not made for them: kept ones, and those of other calls at the same time."""

from typing import Any

import pytest
from msgspec import UNSET

from penstock.base.contents import Content
from penstock.base.nouns import Usage
from penstock.core.cache.rules import key_of
from penstock.core.cache.spec import CacheSpec
from penstock.core.catalog import Target
from penstock.core.effects import Adopt, Answer, Cancel, Drop, Effect, Keep, LookUp, Record, Refuse, Send
from penstock.core.events import (
    Arrived,
    Began,
    ClientGone,
    Ended,
    Event,
    Failed,
    Found,
    Invalidated,
    LookedUp,
    Reconfigured,
    Woke,
)
from penstock.core.gate import Gate
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, PriceSpec
from penstock.core.spec import ExplainSpec, GateSpec
from tests.core.playbook import USED, arrived, call, fleet, gate, kinds, nothing_held, pool, send, tell

FIXED = Content("d1", fixed=True)


def asked(id: str, content: Content = FIXED, **fields: Any) -> Arrived:
    """A call whose request determines its answer."""
    return arrived(id, content=content, **fields)


def key(content: Content = FIXED, spec: CacheSpec | None = None, **fields: Any) -> str:
    """Under which the answer of such a call stands."""
    return key_of(spec or CacheSpec(), call(content=content, **fields), Target("main", "m"))


def house(*ids: str, seats: int = 1, cache: CacheSpec | None = None, shared: bool = False, **more: Any) -> Gate:
    """A Gate with a cache, and one pool of these replicas."""
    pools = (pool(**more.pop("pool", {})),)
    made = gate(*pools, cache=cache or CacheSpec(), shared_cache=shared, **more)
    made.on(fleet(*(ids or ("a",)), max_concurrent_requests=seats), 0.0)
    return made


def lead(id: str, attempt: int = 1, to: str = "a") -> Send:
    """The order to make an attempt that others may join."""
    plain = send(id, attempt, to)
    return Send(*(getattr(plain, name) for name in plain.__struct_fields__[:-1]), "lead")


def ended(id: str, attempt: int = 1, size: Any = 100, **fields: Any) -> Ended:
    """It is answered, with an answer that can be kept."""
    return Ended(id, attempt, **{"status": 200, "usage": USED, "kept_bytes": size, **fields})


def rows(orders: list[Effect]) -> list[tuple[str, str, str]]:
    """Of each call that is over: how, and what the cache had to do with it."""
    return [(order.row.id, order.row.outcome, order.row.cache or "") for order in orders if isinstance(order, Record)]


# ===== kept answers =====


def test_an_answer_is_kept_and_given_again() -> None:
    """The first call is sent and its answer kept before its record; the next one has it, and holds no seat."""
    machine = house()
    assert machine.on(asked("c1"), 0.0) == [lead("c1")]
    orders = machine.on(ended("c1"), 1.0)
    assert orders[0] == Keep("c1", key(), 3600.0, "anonymous", "m")
    assert rows(orders) == [("c1", "ok", "miss")]
    assert machine.on(asked("c2"), 11.0) == [Answer("c2", key(), "hit", "", 10.0)]
    assert machine.counts()["seats_taken"] == 0
    (record,) = machine.on(Ended("c2", 0, 200, USED, 3), 11.5)
    assert isinstance(record, Record)
    assert (record.row.cache, record.row.attempts, record.row.replica, record.row.usage) == ("hit", 0, "", None)
    assert (record.row.ttft_s, record.row.latency_s, record.row.relayed_tokens) == (0.5, 0.5, 3)
    assert nothing_held(machine)


@pytest.mark.parametrize(
    "content",
    [Content("d1"), Content(""), Content("d1", fixed=True, wish="bypass")],
    ids=["drawn", "no digest", "not wished"],
)
def test_what_is_not_to_be_cached_is_sent_as_ever(content: Content) -> None:
    """It is told as such, leads nobody, and nothing of it is kept."""
    machine = house(seats=2)
    (order,) = machine.on(asked("c1", content), 0.0)
    assert isinstance(order, Send)
    assert order.cache == "bypass"
    assert kinds(machine.on(asked("c2", content), 0.0)) == ["Send"]
    assert rows(machine.on(ended("c1"), 1.0)) == [("c1", "ok", "bypass")]


def test_without_a_cache_nothing_is_told_of_one() -> None:
    """Neither orders nor rows have a word of it, so that their journals are what they were."""
    machine = gate()
    machine.on(fleet("a"), 0.0)
    assert machine.on(asked("c1"), 0.0) == [send("c1", 1, "a")]
    (record,) = machine.on(ended("c1"), 0.0)
    assert isinstance(record, Record)
    assert record.row.cache is UNSET
    assert machine.cached() is None


@pytest.mark.parametrize(
    "end",
    [
        ended("c1", size=UNSET),
        ended("c1", status=400),
        ended("c1", size=(1 << 20) + 1),
        Failed("c1", 1, "bad_response"),
    ],
    ids=["cannot be", "the client's mistake", "too large", "failed"],
)
def test_what_is_no_whole_good_answer_is_not_kept(end: Event) -> None:
    """The next call is sent."""
    machine = house()
    machine.on(asked("c1"), 0.0)
    orders = machine.on(end, 1.0)
    assert not [order for order in orders if isinstance(order, Keep)]
    if isinstance(end, Ended):
        assert machine.on(asked("c2"), 1.0) == [lead("c2")]


def test_an_answer_grows_old() -> None:
    """When its time is over it goes, and the call is sent."""
    machine = house(cache=CacheSpec(ttl_s=60.0))
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    assert kinds(machine.on(asked("c2"), 59.9)) == ["Answer"]
    assert machine.on(asked("c3"), 60.0) == [Drop((key(),)), lead("c3")]
    view = machine.cached()
    assert view is not None
    assert (view.entries, view.bytes, view.expired) == (0, 0, 1)


def test_there_is_room_for_so_many() -> None:
    """The least recently used goes, by number and by bytes."""
    machine = house(cache=CacheSpec(entries=2, memory_bytes=250))
    contents = [Content(f"d{number}", fixed=True) for number in range(4)]
    for number in (0, 1):
        tell(machine, asked(f"c{number}", contents[number]), ended(f"c{number}"), now=0.0)
    machine.on(asked("again", contents[0]), 1.0)
    machine.on(asked("c2", contents[2]), 1.0)
    (keep, _) = machine.on(ended("c2"), 1.0)
    assert isinstance(keep, Keep)
    assert keep.evicted == (key(contents[1]),)
    machine.on(asked("c3", contents[3]), 2.0)
    (keep, _) = machine.on(ended("c3", size=200), 2.0)
    assert isinstance(keep, Keep)
    assert keep.evicted == (key(contents[0]), key(contents[2]))


def test_a_refresh_is_sent_and_replaces_what_is_kept() -> None:
    """Nothing is given to it, also not by what runs; whose answer is not kept then: it is the older one."""
    machine = house(seats=3)
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    fresh = Content("d1", fixed=True, wish="refresh")
    assert machine.on(asked("c2", fresh), 1.0) == [lead("c2")]
    assert machine.on(asked("c3", fresh), 1.0) == [lead("c3")]
    assert kinds(machine.on(ended("c3"), 2.0)) == ["Keep", "Record"]
    assert kinds(machine.on(ended("c2"), 3.0)) == ["Record"]


def test_the_answer_of_a_fallback_is_not_kept() -> None:
    """It is another model's."""
    pools = (pool(), pool("other", models=("n",)))
    machine = gate(*pools, fallback={"m": ("n",)}, cache=CacheSpec())
    machine.on(fleet("a", pool="other"), 0.0)
    (order,) = machine.on(asked("c1"), 0.0)
    assert isinstance(order, Send)
    assert kinds(machine.on(ended("c1"), 1.0)) == ["Record"]


# ===== one answer for many =====


def test_identical_calls_have_one_answer() -> None:
    """Who comes while the first one runs gets its answer, and holds no seat; each has a row of its own."""
    machine = house()
    machine.on(asked("c1"), 0.0)
    assert machine.on(asked("c2"), 0.1) == [Answer("c2", key(), "coalesced", "c1")]
    machine.on(Began("c1", 1), 0.2)
    assert machine.on(asked("c3"), 0.3) == [Answer("c3", key(), "coalesced", "c1")]
    assert machine.counts()["seats_taken"] == 1
    orders = tell(
        machine, Began("c2", 0), ended("c1"), Ended("c3", 0, 200, USED, 2), Ended("c2", 0, 200, USED, 2), now=1.0
    )
    assert rows(orders) == [("c1", "ok", "miss"), ("c3", "ok", "coalesced"), ("c2", "ok", "coalesced")]
    assert nothing_held(machine)
    view = machine.cached()
    assert view is not None
    assert view.calls == {"hit": 0, "coalesced": 2, "miss": 1, "bypass": 0}


def test_whoever_is_more_urgent_does_not_wait_behind_a_leader_in_line() -> None:
    """A leader that waits with a lower priority is not joined; one that runs is."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    machine.on(asked("c1", priority=4), 0.0)
    assert machine.on(asked("c2", priority=0), 0.0) == []
    assert kinds(machine.on(asked("c3", priority=4), 0.0)) == ["Answer"]
    assert [order for order in machine.on(ended("other"), 1.0) if isinstance(order, Send)][0].id == "c2"
    machine.on(ended("c2"), 2.0)
    assert kinds(machine.on(asked("c4", priority=0), 3.0)) == ["Answer"]


def test_coalescing_can_be_off() -> None:
    """Then each runs on its own, and the last to begin is kept."""
    machine = house(seats=2, cache=CacheSpec(coalesce=False))
    assert tell(machine, asked("c1"), asked("c2"), now=0.0) == [lead("c1"), lead("c2")]
    assert kinds(tell(machine, ended("c1"), ended("c2"), now=1.0)) == ["Record", "Keep", "Record"]


def test_a_leader_that_fails_before_its_answer_is_tried_again() -> None:
    """The others wait for its next attempt."""
    machine = house("a", "b")
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    assert machine.on(Failed("c1", 1, "closed_early"), 0.1) == [lead("c1", 2, "b")]
    assert rows(tell(machine, ended("c1", 2), Ended("c2", 0, 200, USED), now=1.0)) == [
        ("c1", "ok", "miss"),
        ("c2", "ok", "coalesced"),
    ]


@pytest.mark.parametrize("began", [False, True])
def test_when_the_replicas_fail_the_leader_all_are_told(began: bool) -> None:
    """Before the answer after all its attempts, and in the middle of it at once: nobody is left without a word, and
    nobody tries what has just failed so often."""
    machine = house("a", "b", "c")
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    if began:
        tell(machine, Began("c1", 1), Began("c2", 0), now=0.1)
        orders = machine.on(Failed("c1", 1, "died_mid_answer"), 0.2)
    else:
        tell(machine, Failed("c1", 1, "upstream_5xx"), Failed("c1", 2, "upstream_5xx"), now=0.1)
        orders = machine.on(Failed("c1", 3, "upstream_5xx"), 0.2)
    label = "died_mid_answer" if began else "upstream_5xx"
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1", "c2", "c3"]
    assert rows(orders) == [("c1", label, "miss"), ("c2", label, "coalesced"), ("c3", label, "coalesced")]
    assert nothing_held(machine)


def test_a_follower_leaves() -> None:
    """That concerns nobody else."""
    machine = house()
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    assert rows(machine.on(ClientGone("c2", 1), 0.5)) == [("c2", "client_gone", "coalesced")]
    assert rows(tell(machine, ended("c1"), Ended("c3", 0, 200), now=1.0)) == [
        ("c1", "ok", "miss"),
        ("c3", "ok", "coalesced"),
    ]


@pytest.mark.parametrize("began", [False, True])
def test_when_the_leader_leaves_the_next_one_has_its_attempts(began: bool) -> None:
    """Nothing is cancelled: the attempt is the other's from now on, in the state in which it is, and he is charged what
    the engine counts; who left is charged nothing."""
    machine = house()
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    if began:
        machine.on(Began("c1", 1), 0.1)
    orders = machine.on(ClientGone("c1", 1), 0.5)
    assert orders[0] == Adopt("c1", "c2")
    assert rows(orders) == [("c1", "client_gone", "miss")]
    assert not [order for order in orders if isinstance(order, Cancel)]
    assert machine.counts()["seats_taken"] == 1
    assert kinds(machine.on(asked("c4"), 0.6)) == ["Answer"]
    assert rows(machine.on(ended("c1"), 0.9)) == []
    orders = machine.on(ended("c2"), 1.0)
    assert orders[0] == Keep("c2", key(), 3600.0, "anonymous", "m")
    assert rows(orders) == [("c2", "ok", "miss")]
    (record,) = [order for order in orders if isinstance(order, Record)]
    assert (record.row.usage, record.row.replica, record.row.attempts) == (USED, "a", 1)
    assert rows(tell(machine, Ended("c3", 0, 200), Ended("c4", 0, 200), now=1.0)) == [
        ("c3", "ok", "coalesced"),
        ("c4", "ok", "coalesced"),
    ]
    assert nothing_held(machine)


def test_an_heir_is_tried_again_like_anybody() -> None:
    """The attempts that were made for the one before count."""
    machine = house("a", "b", "c")
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    tell(machine, Failed("c1", 1, "upstream_5xx"), ClientGone("c1"), now=0.1)
    assert machine.on(Failed("c2", 2, "upstream_5xx"), 0.2) == [lead("c2", 3, "c")]
    orders = machine.on(Failed("c2", 3, "upstream_5xx"), 0.3)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c2"]
    assert nothing_held(machine)


def test_when_a_leader_that_waits_leaves_the_next_one_waits_in_its_stead() -> None:
    """Nothing was sent for it: another joins the line, and the others follow that one."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.5)
    assert rows(orders) == [("c1", "client_gone", "miss")]
    assert orders[-1] == Adopt("c1", "c2")
    assert lead("c2").id in [order.id for order in machine.on(ended("other"), 1.0) if isinstance(order, Send)]
    orders = tell(machine, ended("c2"), Ended("c3", 0, 200), now=2.0)
    assert rows(orders) == [("c2", "ok", "miss"), ("c3", "ok", "coalesced")]


def test_what_is_the_leaders_own_fate_is_not_the_others() -> None:
    """It has waited as long as it said it can: the others go on, one of them in its stead."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    machine.on(asked("c1", latency_s=1.0), 0.0)
    tell(machine, asked("c2"), asked("c3"), now=0.0)
    orders = []
    while (wake := machine.next_wake()) is not None and wake <= 2.0:
        orders += machine.on(Woke(), wake)
    assert [order.id for order in orders if isinstance(order, Refuse)] == ["c1"]
    assert [order for order in orders if isinstance(order, Adopt)] == [Adopt("c1", "c2")]
    sent = [order for order in machine.on(ended("other"), 3.0) if isinstance(order, Send)]
    assert [(order.id, order.cache) for order in sent] == [("c2", "lead")]


def test_a_thousand_followers_whose_model_goes_all_hear_of_it() -> None:
    """One after the other would lead, and none can: each is refused, and no stack grows with them."""
    machine = house()
    machine.on(asked("other", Content("d2", fixed=True)), 0.0)
    for number in range(1001):
        machine.on(asked(f"c{number}"), 0.0)
    orders = machine.on(Reconfigured(GateSpec(pools=(pool(models=("n",)),), cache=CacheSpec())), 1.0)
    assert [order.label for order in orders if isinstance(order, Refuse)] == ["model_not_found"] * 1001
    assert [row[2] for row in rows(orders)] == ["miss"] * 1001
    assert machine.counts()["flights"] == 1


def test_an_answer_that_is_not_to_be_had_is_made() -> None:
    """Told before anything of it has gone out: the call is sent itself; told later, it is refused."""
    machine = house(seats=2)
    tell(machine, asked("c1"), asked("c2"), asked("c3"), now=0.0)
    (order,) = machine.on(Failed("c2", 0, "stale_connection"), 0.1)
    assert isinstance(order, Send)
    assert (order.id, order.cache) == ("c2", "miss")
    machine.on(Began("c3", 0), 0.2)
    assert rows(machine.on(Failed("c3", 0, "idle_timeout"), 0.3)) == [("c3", "idle_timeout", "coalesced")]
    assert rows(tell(machine, ended("c1"), ended("c2"), now=1.0)) == [("c1", "ok", "miss"), ("c2", "ok", "miss")]
    assert nothing_held(machine)


# ===== invalidation =====


@pytest.mark.parametrize(
    "fact",
    [Invalidated(), Invalidated(tag="t"), Invalidated(model="m"), Invalidated(tenant="x", tag="t")],
    ids=["all", "tag", "model", "tenant and tag"],
)
def test_what_is_invalid_is_neither_given_nor_joined_nor_kept(fact: Invalidated) -> None:
    """That is so for what is kept, and for what is being made: it goes to those who have asked already."""
    machine = house(seats=3)
    tagged, other = Content("d1", fixed=True, tags=("t", "u")), Content("d2", fixed=True, tags=("t", "u"))
    tell(machine, asked("c1", tagged, tenant="x"), ended("c1"), now=0.0)
    tell(machine, asked("c2", other, tenant="x"), asked("c3", other, tenant="x"), now=0.0)
    assert machine.on(fact, 1.0) == [Drop((key(tagged, tenant="x"),))]
    assert kinds(machine.on(asked("c4", tagged, tenant="x"), 1.0)) == ["Send"]
    assert kinds(machine.on(asked("c5", other, tenant="x"), 1.0)) == ["Send"]
    assert kinds(tell(machine, ended("c2"), Ended("c3", 0, 200), now=2.0)) == ["Record", "Record"]


@pytest.mark.parametrize(
    "fact", [Invalidated(tag="v"), Invalidated(model="n"), Invalidated(tenant="y"), Invalidated(tenant="x", tag="v")]
)
def test_what_is_not_named_stays(fact: Invalidated) -> None:
    """All that is named must match."""
    machine = house()
    tagged = Content("d1", fixed=True, tags=("t",))
    tell(machine, asked("c1", tagged, tenant="x"), ended("c1"), now=0.0)
    assert machine.on(fact, 1.0) == []
    assert kinds(machine.on(asked("c2", tagged, tenant="x"), 1.0)) == ["Answer"]


def test_another_version_finds_nothing() -> None:
    """What was kept before goes; and with the cache off all of it does, while answers under way go on."""
    machine = house(seats=2)
    tell(machine, asked("c1"), ended("c1"), now=0.0)
    again = CacheSpec(version="2")
    assert machine.on(Reconfigured(GateSpec(pools=(pool(),), cache=again)), 1.0) == [Drop((key(),))]
    assert machine.on(asked("c2"), 1.0) == [lead("c2")]
    machine.on(asked("c3"), 1.0)
    assert machine.on(Reconfigured(GateSpec(pools=(pool(),))), 2.0) == []
    assert kinds(machine.on(asked("c4"), 2.0)) == ["Send"]
    assert kinds(tell(machine, ended("c2"), Ended("c3", 0, 200), ended("c4"), now=3.0)) == ["Record"] * 3
    assert nothing_held(machine)


# ===== gateways that share =====


def test_gateways_are_asked_before_an_engine() -> None:
    """The first call asks, the others wait for it; what is found is kept here too, and given to all of them."""
    machine = house(shared=True)
    assert machine.on(asked("c1"), 0.0) == [LookUp("c1", key())]
    assert kinds(machine.on(asked("c2"), 0.0)) == ["Answer"]
    orders = machine.on(LookedUp("c1", Found(100, 30.0, 70.0, ("t",))), 0.01)
    assert orders == [
        Keep("c1", key(), 70.0, "anonymous", "m", ("t",), True),
        Answer("c1", key(), "hit", "", 30.0),
        Answer("c2", key(), "hit", "", 30.0),
    ]
    assert rows(tell(machine, Ended("c1", 0, 200), Ended("c2", 0, 200), now=0.02)) == [
        ("c1", "ok", "hit"),
        ("c2", "ok", "hit"),
    ]
    assert kinds(machine.on(asked("c3"), 70.0)) == ["Answer"]
    assert kinds(machine.on(asked("c4"), 70.1)) == ["Drop", "LookUp"]


@pytest.mark.parametrize("found", [None, Found((1 << 20) + 1, 0.0, 60.0), Found(100, 60.0, 0.0)])
def test_where_they_have_nothing_it_is_sent(found: Found | None) -> None:
    """Nothing, something too large, or something too old."""
    machine = house(shared=True)
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    assert machine.on(LookedUp("c1", found), 0.01) == [lead("c1")]
    assert kinds(tell(machine, ended("c1"), Ended("c2", 0, 200), now=1.0)) == ["Keep", "Record", "Record"]


def test_who_asked_may_leave() -> None:
    """The next one is sent without asking again; the answer to a question of somebody who left means nothing."""
    machine = house(shared=True)
    tell(machine, asked("c1"), asked("c2"), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.01)
    assert kinds(orders) == ["Record", "Adopt", "Send"]
    assert machine.on(LookedUp("c1"), 0.02) == []
    assert machine.on(LookedUp("c2"), 0.02) == []


# ===== limits =====

MONEY = LimitsSpec(
    tenants={"x": AllowanceSpec(tokens_per_minute=200, requests_per_minute=4, budget_per_day=1.0)},
    prices={"m": PriceSpec(prompt=1000.0, completion=2000.0)},
)


def limited(charge: Any = "none") -> Gate:
    """The tenant x may have four calls and 200 tokens a minute."""
    return house(limits=MONEY, cache=CacheSpec(charge=charge))


def used(machine: Gate, what: str) -> float:
    """What x has used of a limit."""
    (account,) = [one for one in machine.accounts(1.0) if one.name == "x"]
    return next(gauge.used for gauge in account.limits if gauge.what == what)


X = {"tenant": "x", "prompt_tokens": 10, "max_tokens": 100}


def test_what_was_not_generated_costs_a_request() -> None:
    """No tokens, and no money: it is let in where only those are spent. The row says so."""
    machine = limited()
    tell(machine, asked("c1", **X), ended("c1", usage=Usage(100, 90)), now=0.0)
    assert used(machine, "tokens per minute") == 190
    (answer,) = machine.on(asked("c2", **X), 0.5)
    assert isinstance(answer, Answer)
    assert answer.rates is not None
    (record,) = machine.on(Ended("c2", 0, 200, Usage(100, 90), 3), 0.6)
    assert isinstance(record, Record)
    assert (record.row.cost, record.row.usage, record.row.billed) == (0.0, None, None)
    assert used(machine, "tokens per minute") == 190
    assert used(machine, "requests per minute") == 2
    tell(machine, asked("c3", **X), Ended("c3", 0, 200), asked("c4", **X), Ended("c4", 0, 200), now=0.7)
    (refuse, _) = machine.on(asked("c5", **X), 0.8)
    assert isinstance(refuse, Refuse)
    assert refuse.label == "request_limit"
    assert nothing_held(machine)


def test_it_may_cost_what_it_would_have() -> None:
    """`charge: tokens`."""
    machine = limited("tokens")
    tell(machine, asked("c1", **X), ended("c1", usage=Usage(20, 10)), now=0.0)
    (record,) = tell(machine, asked("c2", **X), Ended("c2", 0, 200, Usage(20, 10), 3), now=0.5)[1:]
    assert isinstance(record, Record)
    assert (record.row.cost, record.row.usage) == (0.04, Usage(20, 10))
    assert used(machine, "tokens per minute") == 60
    assert nothing_held(machine)


def test_an_heir_is_charged_what_was_generated() -> None:
    """To the token, and once: who left pays nothing, who follows neither."""
    machine = limited()
    tell(machine, asked("c1", **X), asked("c2", **X), asked("c3", **X), now=0.0)
    tell(machine, ClientGone("c1", 1), ended("c2", usage=Usage(20, 10)), Ended("c3", 0, 200), now=0.5)
    assert used(machine, "tokens per minute") == 30
    assert used(machine, "requests per minute") == 2
    assert nothing_held(machine)


def test_who_must_lead_must_have_what_that_takes() -> None:
    """A follower that has held a request only is asked for its tokens when it is to be sent; it waits alone for what
    others hold, and the next one leads."""
    machine = limited()
    machine.on(asked("c0", Content("d0", fixed=True), **{**X, "max_tokens": 20}), 0.0)
    machine.on(asked("c1", **{**X, "max_tokens": 90}), 0.0)
    tell(machine, asked("c2", **{**X, "max_tokens": 90}), now=0.0)
    orders = machine.on(ClientGone("c1"), 0.1)
    assert [order for order in orders if isinstance(order, Adopt)] == [Adopt("c1", "c2")]
    orders = machine.on(ended("c0", usage=Usage(10, 5)), 1.0)
    assert [order.id for order in orders if isinstance(order, Send)] == ["c2"]
    machine.on(ended("c2"), 2.0)
    assert nothing_held(machine)


# ===== why =====


def test_the_way_of_a_call_tells_of_it() -> None:
    """Who asks why is told where the answer came from."""
    machine = house(explain=ExplainSpec(calls=10))
    tell(machine, asked("c1"), asked("c2"), asked("c3"), ClientGone("c1"), ended("c2"), Ended("c3", 0, 200), now=0.0)
    tell(machine, asked("c4"), Ended("c4", 0, 200), now=1.0)
    said = {}
    for trail in machine.trails():
        said[trail.row.id] = [(step.how, step.of) for step in trail.steps() if type(step).__name__ == "Given"]
    assert said == {
        "c1": [], "c2": [("coalesced", "c1"), ("owner", "c1")], "c3": [("coalesced", "c1")], "c4": [("hit", "")],
    }  # fmt: skip
