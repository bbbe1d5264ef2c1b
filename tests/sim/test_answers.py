"""The cache in virtual time: equal prompts are answered once, whoever leaves on the way."""

import pytest
from msgspec.structs import replace

from penstock.config.clients import Clients, Patience
from penstock.config.scenarios import Scenario, read_scenario
from penstock.core.effects import Compare
from penstock.core.events import Compared, Event
from penstock.drive.kernel import Kernel
from penstock.sim.answers import Answers, content_of
from penstock.sim.run import Run
from penstock.sim.tally import Result
from penstock.workload.request import NS, Request

FILE = """
workload: {kind: synthetic, arrivals: {kind: poisson, rate: 1}, requests: 1}
fleet: [{count: 2, cost: demo, seats: 2}]
policy: {cache: {}}
"""
PLAIN = read_scenario(FILE, "cache.yaml")


def request(at_s: float, prompt: int, **fields: object) -> Request:
    """One of a few prompts, all of which is known."""
    usual = {"prompt_tokens": 64, "output_tokens": 50, "blocks": (prompt, prompt + 1000), "block_tokens": 32}
    return Request(at_ns=round(at_s * NS), **{**usual, **fields})  # type: ignore[arg-type]


def ran(
    requests: list[Request], scenario: Scenario = PLAIN, *, sent: int | None = None, adopts: bool = False
) -> tuple[Run, Result]:
    """Their run, after which nothing is held."""
    run = Run(scenario, scenario.policy, requests, 1)
    orders: list[str] = []
    run.watch = lambda now, event, effects: orders.extend(type(order).__name__ for order in effects)
    result = run.go().result
    assert not any(run.gate.counts().values())
    answers = run.answers
    if answers is not None:
        held = answers._followers, answers._leaders, answers._names, answers._calls, answers._begun, answers._ended
        assert not any(held)
    run.watch = None
    assert sent is None or orders.count("Send") == sent
    assert not adopts or "Adopt" in orders
    return run, result


def states(run: Run) -> dict[str, int]:
    """How calls got their answers."""
    view = run.gate.cached()
    assert view is not None
    return view.calls


def test_equal_prompts_reach_an_engine_once() -> None:
    """Those that come while the first one runs join it, later ones have what was kept; other prompts are sent."""
    run, result = ran(
        [*(request(number / 1000, 1) for number in range(20)), request(30.0, 1), request(31.0, 2)], sent=2
    )
    assert states(run) == {"hit": 1, "coalesced": 19, "miss": 2, "bypass": 0}
    assert result.ok == 22
    assert sum(count for name, count in result.replicas.items() if name) == 2


def test_without_a_cache_all_are_sent() -> None:
    """And the Gate hears of no identity."""
    policy = replace(PLAIN.policy, cache=None)
    run, result = ran([request(0.0, 1), request(1.0, 1)], replace(PLAIN, policy=policy))
    assert run.gate.cached() is None
    assert sum(result.replicas.values()) == 2


@pytest.mark.parametrize("fields", [{"prompt_tokens": 65}, {"blocks": (), "block_tokens": 0}])
def test_a_prompt_whose_end_nobody_knows_is_like_no_other(fields: dict[str, object]) -> None:
    """It is sent."""
    run, _ = ran([request(0.0, 1, **fields), request(5.0, 1, **fields)])
    assert states(run)["bypass"] == 2


def test_identities_are_prompts() -> None:
    """Length and text count, the answer's length does not."""
    same = content_of(request(0.0, 1))
    assert same == content_of(request(3.0, 1, output_tokens=7))
    assert same != content_of(request(0.0, 1, prompt_tokens=63))
    assert same != content_of(request(0.0, 2))


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_clients_that_leave_take_nothing_from_others(spread: float) -> None:
    """With patience drawn, some leave on the way, leaders among them; every request ends once, and nothing hangs."""
    patience = Patience(answer_s=0.6, spread=spread)
    scenario = replace(PLAIN, clients=Clients(patience=patience))
    requests = [request(number / 50, number % 3) for number in range(300)]
    run, result = ran(requests, scenario, adopts=True)
    assert result.ok + result.failed == 300
    assert result.gave_up > 0
    assert states(run)["coalesced"] > 0


def test_a_run_with_a_cache_is_the_same_every_time() -> None:
    """Equal digests of all facts and orders."""
    requests = [request(number / 20, number % 5) for number in range(100)]
    digests = {Run(PLAIN, PLAIN.policy, requests, 3).go(digest=True).journal for _ in range(2)}
    assert len(digests) == 1


def test_nobodys_words_are_known() -> None:
    """So no question is like another one in other words, and that is told at once."""
    told: list[Event] = []
    order = Compare("c", "f")
    Answers(Kernel(), told.append).table()[Compare](order)
    assert told == [Compared("c")]
