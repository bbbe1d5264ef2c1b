"""Who may enter: today, that no two calls with one id of their client are in flight at once [Q3].

Rates, tokens and budgets will be held here at admission and settled at the end; until then they bound nothing.
"""

from penstock.base.errors import Label
from penstock.base.nouns import Call


class Limits:
    """What calls in flight hold of their tenants' allowances."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def hold(self, call: Call) -> Label | None:
        """Take what the call needs, all or nothing; why not, otherwise."""
        if call.client_id:
            mark = (call.tenant, call.client_id)
            if mark in self._ids:
                return "duplicate_request_id"
            self._ids.add(mark)
        return None

    def settle(self, call: Call) -> None:
        """Give back what `hold` took."""
        if call.client_id:
            self._ids.discard((call.tenant, call.client_id))
