"""Ids of calls in flight are held per tenant and given back."""

from penstock.core.limits import Limits
from tests.core.playbook import call


def test_an_id_is_held_once_a_tenant() -> None:
    """The same id of the same tenant is refused until it is settled; of another tenant it is another id."""
    limits = Limits()
    assert limits.hold(call("c1", client_id="x", tenant="t")) is None
    assert limits.hold(call("c2", client_id="x", tenant="t")) == "duplicate_request_id"
    assert limits.hold(call("c3", client_id="x", tenant="u")) is None
    assert len(limits) == 2
    limits.settle(call("c1", client_id="x", tenant="t"))
    assert limits.hold(call("c4", client_id="x", tenant="t")) is None


def test_calls_without_an_id_hold_nothing() -> None:
    """No id, nothing to meet."""
    limits = Limits()
    assert limits.hold(call("c1")) is limits.hold(call("c2")) is None
    assert len(limits) == 0
    limits.settle(call("c1"))
