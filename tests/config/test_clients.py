"""The clients of a scenario file: what may be said of them, and what is a mistake."""

import pytest

from penstock.base.errors import ConfigError
from penstock.config.clients import ClientRetries, Clients, Patience
from penstock.config.scenarios import Scenario, read_scenario


def read(clients: str) -> Scenario:
    """A scenario with these clients."""
    return read_scenario(f"workload: {{kind: trace, file: azure}}\nfleet: [{{}}]\nclients: {clients}\n", "s.yaml")


def test_patience_retries_and_closed_loop_are_read() -> None:
    """Durations have units, and what is left out has the defaults of OpenAI's libraries."""
    found = read("{patience: {first_token: 10s, spread: 0.5}, retries: {attempts: 2}, closed: true}").clients
    assert found == Clients(
        patience=Patience(first_token_s=10.0, spread=0.5), retries=ClientRetries(attempts=2), closed=True
    )
    assert (ClientRetries().attempts, ClientRetries().wait_s, ClientRetries().most_wait_s) == (3, 0.5, 8.0)


def test_without_the_block_nobody_leaves_or_asks_again() -> None:
    """The clients of a scenario that says nothing of them."""
    assert read_scenario("workload: {kind: trace, file: azure}\nfleet: [{}]\n", "s.yaml").clients is None


@pytest.mark.parametrize(
    ("clients", "said"),
    [
        ("{patience: {spread: 1}}", "patience without an end: give `first_token`, `answer` or both"),
        ("{patience: {first_token: soon}}", "first_token"),
        ("{retries: {attempts: 1}}", "attempts"),
        ("{close: true}", "closed"),
    ],
)
def test_mistakes_are_told(clients: str, said: str) -> None:
    """The field and the way out."""
    with pytest.raises(ConfigError, match=said):
        read(clients)
