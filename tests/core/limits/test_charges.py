"""What calls are charged: what their tenants got, and nothing for what others broke."""

import pytest

from penstock.core.limits.charges import NANO, NOTHING, Charge, charge, cost, most_output, price_of
from penstock.core.limits.spec import PriceSpec
from tests.core.playbook import call


@pytest.mark.parametrize(
    "outcome, status, relayed, begun, sent, stream, charged",
    [
        ("ok", 400, 0, False, True, False, Charge(True)),
        ("ok", 200, 7, True, True, True, Charge(True, 12, 7)),
        ("ok", 200, 0, False, True, False, Charge(True, 12, 50)),
        ("client_gone", 499, 3, True, True, True, Charge(True, 12, 3)),
        ("client_gone", 499, 0, False, True, False, Charge(True, 12)),
        ("client_gone", 499, 0, False, False, False, NOTHING),
        ("died_mid_answer", 502, 3, True, True, True, Charge(True, 12, 3)),
        ("upstream_5xx", 502, 0, False, True, False, NOTHING),
        ("queue_full", 429, 0, False, False, False, NOTHING),
        ("queue_timeout", 504, 0, False, False, False, NOTHING),
    ],
)
def test_a_call_is_charged_what_its_tenant_got(
    outcome: str, status: int, relayed: int, begun: bool, sent: bool, stream: bool, charged: Charge
) -> None:
    """Without a count: what was held, or relayed; of broken ones what was relayed; of refusals and failures nothing."""
    found = charge(
        call(stream=stream), outcome, status, relayed, begun=begun, sent=sent, prompt=12, output=50
    )  # fmt: skip
    assert found == charged


def test_only_paths_that_generate_have_output() -> None:
    """Answers are as long as the request says, times how many it asks for, and embeddings have none."""
    assert most_output(call(max_tokens=20), 1024) == 20
    assert most_output(call(max_tokens=20, choices=3), 1024) == 60
    assert most_output(call(), 1024) == 1024
    assert most_output(call(path="/v1/embeddings"), 1024) == 0


def test_money_is_counted_in_billionths() -> None:
    """Prompt, cached prompt and answer have their prices; what is no whole billionth is rounded up."""
    price = price_of(PriceSpec(prompt=0.15, completion=0.6, cached=0.075))
    assert price_of(PriceSpec(prompt=0.15, completion=0.6)) == (150.0, 150.0, 600.0)
    assert cost(price, 1_000_000, 1_000_000) == 750_000_000
    assert cost(price, 10, 5, 4) == 6 * 150 + 4 * 75 + 5 * 600
    assert cost(price_of(PriceSpec(prompt=0.0001)), 1, 0) == 1
    assert cost(price_of(PriceSpec(prompt=1.0)), 10, 0, 4) == 10_000
    assert cost(None, 10, 10) == 0
    assert NANO == 10**9
