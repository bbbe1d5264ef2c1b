"""The live fairness benchmark: what it sends is what was planned, and what it tells is of the right calls."""

import json

import pytest

from bench.fairness import FROM_S, visits
from bench.fairness_live import FLOOD, NAMES, WAVES, body, judged
from penstock.base.nouns import Call
from penstock.gateway.client.peek import guess_tokens
from penstock.loadgen.answer import Answer
from tests.helpers.arena import Visit


def visit(id: str, at: float) -> Visit:
    """A call at this time."""
    return Visit(at, Call(id, "m", tenant=id.partition("-")[0], prompt_tokens=300, max_tokens=60), 20)


def answered(ttft_s: float, error: str = "") -> Answer:
    """An answer that began so late, or failed."""
    made = Answer(100.0)
    made.first_content_at, made.error = 100.0 + ttft_s, error
    return made


def test_a_planned_call_is_sent_as_it_was_planned() -> None:
    """About as many tokens, exactly as long an answer, streamed, and no two prompts begin alike."""
    one, other = (body(visit(f"t1-{number}", 0.0)) for number in range(2))
    sent = json.loads(one)
    assert (sent["max_tokens"], sent["stream"], sent["ignore_eos"]) == (20, True, True)
    assert guess_tokens(sent["messages"][0]["content"].encode()) == pytest.approx(300, rel=0.05)
    assert json.loads(other)["messages"][0]["content"][:5] != sent["messages"][0]["content"][:5]


def test_every_planned_tenant_has_a_key() -> None:
    """Of the others and of the flood; the latter sends more than any of them."""
    planned = [each.call.tenant for each in visits(WAVES, 0, True, lambda call: call)]
    assert set(planned) <= set(NAMES)
    assert planned.count(FLOOD) > 5 * planned.count("t0")


def test_the_others_are_judged_once_tenants_have_a_history() -> None:
    """The flood's own waits and the first seconds count for nothing; how late the client was is told beside."""
    found = [(visit(f"t1-{number}", FROM_S + number), answered(0.1 * number)) for number in range(20)]
    found += [(visit("t1-early", FROM_S - 0.1), answered(50.0)), (visit(f"{FLOOD}-1", FROM_S + 5), answered(60.0))]
    told = judged(found, [0.001] * 21 + [0.5], FROM_S)
    assert told.others_p95_s == pytest.approx(1.9)
    assert (told.late_p95_s, told.calls) == (0.001, 22)


def test_a_story_with_a_failure_is_no_story() -> None:
    """Its times would be those of fewer calls."""
    with pytest.raises(RuntimeError, match="broke"):
        judged([(visit("t1-1", 20.0), answered(0.1, "it broke"))], [0.0], FROM_S)
