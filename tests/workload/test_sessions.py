"""Conversations: each prompt is what was said before and one thing more, and its blocks say so."""

from collections import defaultdict
from itertools import islice, pairwise
from typing import Any

from penstock.base.rand import Rand
from penstock.workload.arrivals import Constant, Poisson
from penstock.workload.lengths import Fixed, Independent
from penstock.workload.names import Zipf
from penstock.workload.prefixes import Shared
from penstock.workload.request import NS, Request
from penstock.workload.sessions import Sessions

SIZES = Independent(prompt=Fixed(tokens=100), output=Fixed(tokens=50))


def made(**fields: Any) -> list[Request]:
    """The requests of a spec."""
    settings: dict[str, Any] = {"arrivals": Poisson(rate=2), "requests": 400, "block_tokens": 64} | fields
    return list(Sessions(**settings).stream(Rand(1), lambda name: []))


def by_session(requests: list[Request]) -> dict[str, list[Request]]:
    """Requests by their session."""
    sessions: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        sessions[request.session].append(request)
    return sessions


def test_one_session_to_the_letter() -> None:
    """Times, contexts, blocks and pauses of a session with nothing left to luck."""
    found = made(
        arrivals=Constant(rate=1), requests=3, turns=Fixed(tokens=3), sizes=SIZES, think_s=0.1, think_sigma=0.0,
        token_s=0.001, opening=Fixed(tokens=28),
    )  # fmt: skip
    assert [(r.at_ns, r.turn, r.prompt_tokens, r.think_ns) for r in found] == [
        (1_000_000_000, 0, 128, 0), (1_150_000_000, 1, 278, 100_000_000), (1_300_000_000, 2, 428, 100_000_000),
    ]  # fmt: skip
    assert [len(r.blocks) for r in found] == [178 // 64, 328 // 64, 478 // 64]
    assert {(r.session, r.output_tokens, r.block_tokens) for r in found} == {("s0", 50, 64)}


def test_turns_grow_from_each_other() -> None:
    """In every session turns count up, time goes on, the context grows by what was said and answered, and the blocks
    of a turn are the beginning of the next turn's."""
    for turns in by_session(made(shared=Shared(groups=3))).values():
        assert [request.turn for request in turns] == list(range(len(turns)))
        for before, after in pairwise(turns):
            assert after.at_ns >= before.at_ns + after.think_ns
            assert after.prompt_tokens > before.prompt_tokens + before.output_tokens - 1
            assert after.blocks[: len(before.blocks)] == before.blocks


def test_sessions_share_their_system_prompt_and_no_more() -> None:
    """Two sessions agree in the whole blocks of a shared prompt and nowhere else."""
    sessions = by_session(made(shared=Shared(groups=1, tokens=Fixed(tokens=200)), sizes=SIZES))
    one, two = (set(turns[-1].blocks) for turns in islice(sessions.values(), 2))
    assert len(one & two) == 200 // 64


def test_order() -> None:
    """The stream is in order of time, whatever the sessions do."""
    times = [request.at_ns for request in made(think_s=5.0)]
    assert times == sorted(times)


def test_context_ends_a_session() -> None:
    """No prompt is longer than the context allows; a session ends instead, and a first turn is cut."""
    found = made(turns=Fixed(tokens=50), sizes=SIZES, max_context_tokens=500, think_s=0.1)
    assert max(request.prompt_tokens for request in found) <= 500
    assert max(request.turn for request in found) == 2
    assert {r.prompt_tokens for r in made(sizes=SIZES, max_context_tokens=80)} == {80}


def test_labels_belong_to_the_session() -> None:
    """All turns of a session have one tenant."""
    for turns in by_session(made(tenant=Zipf(count=5))).values():
        assert len({request.tenant for request in turns}) == 1


def test_duration() -> None:
    """Nothing arrives after the end, neither sessions nor turns."""
    found = made(requests=None, duration_s=30.0)
    assert 28 * NS < found[-1].at_ns <= 30 * NS
