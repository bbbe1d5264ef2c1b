"""Made-up single requests: every part of the spec is met, and nothing is shared that should not be."""

from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from penstock.base.rand import Rand
from penstock.workload.arrivals import Constant, Poisson
from penstock.workload.lengths import Fixed, Independent
from penstock.workload.names import One, Weighted, Zipf
from penstock.workload.prefixes import Shared
from penstock.workload.request import Request
from penstock.workload.synthetic import Synthetic, until

SIZES = Independent(prompt=Fixed(tokens=100), output=Fixed(tokens=10))


def made(seed: int = 1, **fields: Any) -> list[Request]:
    """The requests of a spec."""
    settings: dict[str, Any] = {"arrivals": Poisson(rate=10), "requests": 500} | fields
    return list(Synthetic(**settings).stream(Rand(seed), lambda name: []))


def test_plain() -> None:
    """Without anything said of them, prompts are unique and nobody is named."""
    for request in made(sizes=SIZES):
        assert request == Request(request.at_ns, 100, 10)


def test_ends() -> None:
    """The stream ends at the number of requests or at the duration, whichever is first."""
    assert len(made(requests=7)) == 7
    assert made(arrivals=Constant(rate=1), duration_s=3.0)[-1].at_ns == 3_000_000_000
    assert list(until(iter([1, 2, 3]), 2)) == [1, 2]


def test_labels() -> None:
    """Tenants, models, adapters and priorities come by their weights, each on its own; the deadline is everybody's."""
    found = made(
        tenant=Zipf(count=2), model=One(name="m"), adapter=Weighted(weights={"a": 1, "b": 1}),
        priority=Weighted(weights={"batch": 1, "critical": 1}), deadline_s=1.5,
    )  # fmt: skip
    assert {request.model for request in found} == {"m"}
    assert {request.deadline_ns for request in found} == {1_500_000_000}
    assert {request.priority for request in found} == {0, 4}
    assert Counter(request.tenant for request in found)["t1"] / 500 == pytest.approx(2 / 3, abs=0.06)
    assert len(Counter((request.tenant, request.adapter, request.priority) for request in found)) == 8


def test_kinds_of_what_may_go_together() -> None:
    """By their weights; times and sizes are what they are without."""
    found = made(sizes=SIZES, alike=Weighted(weights={"k1": 1, "k2": 1}))
    assert {request.alike for request in found} == {"k1", "k2"}
    plain = made(sizes=SIZES)
    assert [(r.at_ns, r.prompt_tokens) for r in found] == [(r.at_ns, r.prompt_tokens) for r in plain]
    assert {request.alike for request in plain} == {""}


def test_a_label_changes_nothing_else() -> None:
    """Naming tenants leaves times and sizes as they are: each kind of luck has its own stream."""
    plain, named = made(), made(tenant=Zipf(count=5))
    assert [(r.at_ns, r.prompt_tokens) for r in plain] == [(r.at_ns, r.prompt_tokens) for r in named]


def test_shared_prompts() -> None:
    """A shared prompt stands before the own text; requests share its whole blocks exactly if it is the same."""
    found = made(sizes=SIZES, shared=Shared(groups=5, tokens=Fixed(tokens=250)), block_tokens=100)
    assert {request.prompt_tokens for request in found} == {350}
    assert {len(request.blocks) for request in found} == {2}
    assert len({request.blocks for request in found}) == 5
    assert all(one.blocks == two.blocks or not set(one.blocks) & set(two.blocks) for one, two in pairwise(found))


def test_empty_prompts_have_one_token() -> None:
    """A prompt of no tokens is none: the shortest has one."""
    nothing = Independent(prompt=Fixed(tokens=0), output=Fixed(tokens=0))
    assert {request.prompt_tokens for request in made(sizes=nothing)} == {1}
    assert {request.prompt_tokens for request in made(sizes=nothing, tenant=One(name="a"))} == {1}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs `requests` or `duration` to end"),
        ({"requests": 5, "priority": {"kind": "one", "name": "urgent"}}, "'urgent' is no priority: there are critical"),
        ({"requests": 0}, ">= 1"),
    ],
)
def test_mistakes(fields: dict[str, Any], said: str) -> None:
    """A spec without end, or with a priority that there is not, is refused."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"kind": "synthetic", "arrivals": {"kind": "poisson", "rate": 1}} | fields, Synthetic)
    assert said in str(caught.value)
