"""Clients: who leaves, who asks again, who waits before going on; whatever they do, every request ends once."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.base.rand import Rand
from penstock.config.clients import ClientRetries, Clients, Patience
from penstock.config.scenarios import Flap, Group, Policy, Scenario
from penstock.core.effects import Effect, Refuse
from penstock.core.events import Arrived, Began, ClientGone, Event
from penstock.core.route.presets import Adaptive, LeastLoaded, RoundRobin
from penstock.core.spec import QueueSpec
from penstock.drive.kernel import Kernel
from penstock.sim.clients import AHEAD_S, Played
from penstock.sim.run import WARM_UP_S, Run, simulate
from penstock.workload.request import NS, Request
from tests.sim.support import request, scenario
from tests.telemetry.rows import row

DAY_S = 86_400.0


class Watched(Run):
    """A run that notes when calls arrived and were left."""

    def __init__(self, made: Scenario, requests: list[Request], seed: int = 1) -> None:
        self.seen: list[tuple[float, str, str]] = []
        super().__init__(made, made.policy, requests, seed)

    def _observe(self, now: float, event: Event, orders: list[Effect]) -> None:
        if isinstance(event, Arrived):
            self.seen.append((round(now - WARM_UP_S, 6), "came", event.call.id))
        elif isinstance(event, ClientGone):
            self.seen.append((round(now - WARM_UP_S, 6), "left", event.id))
        super()._observe(now, event, orders)

    def times(self, what: str) -> dict[str, float]:
        """When each call came or was left, counted from the workload's start."""
        return {id: at for at, kind, id in self.seen if kind == what}


def one_seat(clients: Clients, **fields: Any) -> Scenario:
    """One replica that serves one call at a time, and never starts where it is said to take a day for it."""
    startup_s = fields.pop("startup_s", 0.0)
    return scenario(fleet=(Group(cost="fast", seats=1, startup_s=startup_s),), clients=clients, **fields)


# ===== patience =====


def test_who_waits_too_long_for_a_first_token_leaves() -> None:
    """The second call waits for the first one's long answer; after a second its client is gone, from the queue."""
    run = Watched(
        one_seat(Clients(patience=Patience(first_token_s=1.0))), [request(0.0, 100, 50_000), request(0.5, 100, 10)]
    )
    result = run.go().result
    assert result.outcomes == {"client_gone": 1, "ok": 1}
    assert (result.gave_up, result.failed) == (1, 1)
    assert run.times("left") == {"c1": 1.5}


def test_who_waits_too_long_for_the_whole_answer_leaves_in_the_middle() -> None:
    """The engine works no longer for it: the call behind it begins at once."""
    made = one_seat(Clients(patience=Patience(answer_s=2.0)))
    run = Watched(made, [request(0.0, 100, 50_000), request(0.5, 100, 10)])
    result = run.go().result
    assert run.times("left") == {"c0": 2.0}
    assert result.outcomes == {"client_gone": 1, "ok": 1}
    assert result.ttft_mean_s == pytest.approx(1.5, abs=0.01)


def test_patience_has_its_own_luck_whatever_the_policy() -> None:
    """With a spread people differ, request n is as patient under every strategy, and another seed has other people."""
    made = one_seat(Clients(patience=Patience(first_token_s=1.0, spread=0.5)), startup_s=DAY_S)
    some = [request(0.0) for _ in range(20)]
    lefts = []
    for strategy, seed in ((RoundRobin(), 1), (LeastLoaded(), 1), (RoundRobin(), 2)):
        run = Watched(replace(made, policy=Policy(strategy=strategy)), some, seed)
        run.go()
        lefts.append(run.times("left"))
    assert lefts[0] == lefts[1] != lefts[2]
    assert len(set(lefts[0].values())) == 20


# ===== asking again =====


def crowded(**retries: Any) -> Scenario:
    """One seat, one place in the queue, and clients that ask again."""
    policy = Policy(strategy=RoundRobin(), queue=QueueSpec(max=1))
    return one_seat(Clients(retries=ClientRetries(**retries)), policy=policy)


def test_who_is_refused_asks_again_after_what_he_was_told() -> None:
    """The third call finds the queue full, comes again after Retry-After, and its times count from its first try."""
    run = Watched(crowded(), [request(0.0, 100, 3000), request(0.01, 100, 10), request(0.02, 100, 10)])
    result = run.go().result
    assert result.outcomes == {"ok": 3}
    assert (result.requests, result.client_retries) == (3, 1)
    came = run.times("came")
    assert came["c2~2"] - came["c2"] >= 1.0
    assert result.ttft_mean_s > (came["c2~2"] - came["c2"]) / 3


def test_after_the_last_try_a_refusal_is_the_end() -> None:
    """An engine that never starts: two tries each, one end each."""
    made = one_seat(Clients(retries=ClientRetries(attempts=2)), startup_s=DAY_S)
    result = simulate(made, made.policy, [request(0.0), request(0.1)], 1)
    assert result.outcomes == {"no_replica": 2}
    assert result.client_retries == 2


class Desk:
    """Clients by themselves: what they tell and send is noted."""

    def __init__(self, spec: Clients) -> None:
        self.kernel = Kernel()
        self.told: list[Event] = []
        self.asked: list[tuple[float, str]] = []
        self.clients = Played(spec, self.kernel, self.told.append, self._ask, Rand(1))

    def _ask(self, request: Request, number: int, id: str, first: bool) -> None:
        self.asked.append((self.kernel.clock(), id))

    def refuse(self, id: str, status: int, retry_after_s: float | None = None) -> bool:
        """The Gate refuses a try; whether that is the end of it."""
        self.clients.refused(Refuse(id, "queue_full", status, "", retry_after_s))
        return self.clients.over(row(id=id, at=self.kernel.clock())) is not None


def test_a_pause_that_nobody_named_doubles_up_to_a_bound() -> None:
    """Half a second, a second, two: less by up to a quarter; a Retry-After above a minute is none."""
    desk = Desk(Clients(retries=ClientRetries(attempts=5, most_wait_s=1.5)))
    desk.clients.came(request(0.0), 0)
    waits = []
    for tries, told_s in ((1, None), (2, 90.0), (3, None), (4, 7.0)):
        id, before = desk.asked[-1][1], desk.kernel.clock()
        assert id == ("c0" if tries == 1 else f"c0~{tries}")
        assert not desk.refuse(id, 429, told_s)
        desk.kernel.run()
        waits.append(desk.kernel.clock() - before)
    for wait_s, most_s in zip(waits, (0.5, 1.0, 1.5), strict=False):
        assert 0.75 * most_s <= wait_s <= most_s
    assert waits[3] == pytest.approx(7.0)
    assert desk.refuse(desk.asked[-1][1], 429)


@pytest.mark.parametrize("status", [400, 499, 500, 502, 504])
def test_other_failures_are_not_asked_again(status: int) -> None:
    """Only 429 and 503 ask for another try."""
    desk = Desk(Clients(retries=ClientRetries()))
    desk.clients.came(request(0.0), 0)
    assert desk.refuse("c0", status)


def test_what_has_begun_is_not_asked_again() -> None:
    """A refusal after the first token is a broken answer, not a busy service."""
    desk = Desk(Clients(retries=ClientRetries()))
    desk.clients.came(request(0.0), 0)
    desk.clients.heard(Began("c0", 1))
    assert desk.refuse("c0", 503, 1.0)
    assert desk.told == [Began("c0", 1)]


def test_nobody_asks_again_when_his_patience_would_be_over() -> None:
    """Told to wait five seconds with three left, he takes the refusal as it is, and leaves nothing behind."""
    desk = Desk(Clients(retries=ClientRetries(), patience=Patience(first_token_s=3.0)))
    desk.clients.came(request(0.0), 0)
    assert desk.refuse("c0", 429, 5.0)
    desk.kernel.run()
    assert desk.told == []
    assert desk.clients.pending == 0


def test_patience_counts_from_the_first_try() -> None:
    """A second try that is silent is left when the first one's time is over."""
    desk = Desk(Clients(retries=ClientRetries(), patience=Patience(first_token_s=3.0)))
    desk.clients.came(request(0.0), 0)
    assert not desk.refuse("c0", 429, 2.0)
    desk.kernel.run()
    assert desk.asked == [(0.0, "c0"), (2.0, "c0~2")]
    assert desk.told == [ClientGone("c0~2")]
    assert desk.kernel.clock() == 3.0


# ===== closed loop =====


def turn(at_s: float, number: int, think_s: float = 0.0, output_tokens: int = 10, session: str = "s") -> Request:
    """A turn of a session."""
    return request(at_s, 100, output_tokens, session=session, turn=number, think_ns=int(think_s * NS))


def test_the_next_turn_waits_for_the_answer_before() -> None:
    """The workload guessed that it comes after 0.1 s; the answer takes a second, and thinking two."""
    made = scenario(clients=Clients(closed=True))
    run = Watched(made, [turn(0.0, 0, output_tokens=5000), turn(0.1, 1, think_s=2.0)])
    run.go()
    answer_s = 0.0002 + 100 * 0.2e-6 + 4999 * 0.000202 + 0.001
    assert run.times("came") == {"c0": 0.0, "c1": pytest.approx(answer_s + 2.0, abs=1e-5)}


def test_the_next_turn_comes_earlier_than_guessed_where_answers_are_quick() -> None:
    """The workload says 100 s; the answer is there at once, so it comes after two seconds of thinking."""
    made = scenario(clients=Clients(closed=True))
    run = Watched(made, [turn(0.0, 0), turn(100.0, 1, think_s=2.0), turn(101.0, 0, session="other")])
    run.go()
    assert run.times("came") == {"c0": 0.0, "c1": pytest.approx(2.0, abs=0.01), "c2": 101.0}


def test_turns_of_one_session_come_one_after_the_other() -> None:
    """However early the workload has them, no two of a session are under way at once, and their order is kept."""
    made = scenario(clients=Clients(closed=True))
    run = Watched(made, [turn(number * 0.01, number, think_s=1.0, output_tokens=500) for number in range(5)])
    assert run.go().result.outcomes == {"ok": 5}
    came = list(run.times("came").items())
    assert [id for id, _ in came] == ["c0", "c1", "c2", "c3", "c4"]
    assert all(later - earlier > 1.09 for (_, earlier), (_, later) in pairwise(came))


def test_a_session_goes_on_after_a_turn_that_failed() -> None:
    """Otherwise a policy that refuses much would have fewer requests to answer."""
    policy = Policy(strategy=RoundRobin(), queue=QueueSpec(unavailable_wait_s=0.5))
    made = one_seat(Clients(closed=True), policy=policy, startup_s=5.0)
    result = simulate(made, made.policy, [turn(0.0, 0), turn(1.0, 1, think_s=30.0)], 1)
    assert result.outcomes == {"no_replica": 1, "ok": 1}


def test_what_has_no_turns_comes_when_the_workload_says() -> None:
    """Sessions whose turns are not numbered, a turn whose beginning is missing, and single requests."""
    made = scenario(clients=Clients(closed=True))
    some = [turn(0.0, 0), turn(0.5, 0), turn(1.0, 3, session="cut"), request(1.5)]
    run = Watched(made, some)
    run.go()
    assert list(run.times("came").values()) == [0.0, 0.5, 1.0, 1.5]


def test_sessions_that_are_over_are_forgotten() -> None:
    """Of forty sessions far apart, those that ended long ago take no memory; their requests all came."""
    made = scenario(clients=Clients(closed=True))
    some = [turn(number * 100.0, 0, session=str(number)) for number in range(40)]
    run = Watched(made, some)
    run.go()
    assert len(run.times("came")) == 40
    assert run.clients is not None
    assert len(run.clients._sessions) <= 2 * AHEAD_S / 100.0 + 2


# ===== always =====


@pytest.mark.parametrize("seed", range(3))
def test_every_request_ends_once_whatever_clients_do(seed: int) -> None:
    """Impatient, insistent clients in closed loop over replicas that flap: one end each, and nothing is left."""
    rng, at, some = Rand(seed).stream("story"), 0.0, []
    for number in range(300):
        at += rng.expovariate(40.0)
        size, session = rng.randint(1, 900), str(number % 60)
        some.append(turn(at, number // 60, think_s=rng.random(), output_tokens=size, session=session))
    clients = Clients(
        patience=Patience(first_token_s=0.4, answer_s=1.5, spread=0.7), retries=ClientRetries(attempts=4), closed=True
    )
    made = scenario(
        fleet=(Group(count=2, cost="fast", seats=2),), clients=clients, faults=(Flap(at_s=1.0, for_s=6.0),),
        policy=Policy(strategy=Adaptive(), queue=QueueSpec(max=4, unavailable_wait_s=0.3)),
    )  # fmt: skip
    run = Run(made, made.policy, some, seed)
    result = run.go().result
    assert result.requests == sum(result.outcomes.values()) == 300
    assert result.gave_up > 0
    assert result.client_retries > 0
    assert run.clients is not None
    assert (run.clients.pending, len(run.clients._askers), len(run._flying)) == (0, 0, 0)
    assert not any(run.gate.counts().values())
