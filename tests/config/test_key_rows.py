"""Rows of keys: states, terms, and limits by the configuration and by a gateway."""

import pytest

from penstock.base.nouns import AccountView, GaugeView
from penstock.config.key_rows import Limit, Secret, page_of, rows_of
from penstock.config.key_store import KeyStore, StoredHash, StoredKey
from penstock.config.schema import KeyTerms, ServerSpec, Settings
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, RateSpec, TiersSpec
from penstock.core.spec import GateSpec

A, B = "a" * 64, "b" * 64
NOW_S = 86400.0
NOW = "1970-01-02T00:00:00Z"


def settings(limits: LimitsSpec | None = None, **terms: object) -> Settings:
    """One key of the configuration, on these terms, and one of the keys file."""
    held = {A: KeyTerms(**terms)} if terms else {}  # type: ignore[arg-type]
    server = ServerSpec(key_names={A: "own", B: "b"}, key_terms=held, stored_keys=(B,), open=False)
    return Settings(server=server, gate=GateSpec(limits=limits))


def stored(**more: object) -> KeyStore:
    """The keys file's one key."""
    secret = StoredHash(hash=f"sha256:{B}", made=NOW)
    fields: dict[str, object] = {"hashes": (secret,), **more}
    return KeyStore(keys=(StoredKey(name="b", made=NOW, **fields),))  # type: ignore[arg-type]


def test_keys_of_both_places_are_rows() -> None:
    """Each once, with where it stands and what it may."""
    own, b = rows_of(settings(models=("m",), tier="free", tenant="t"), stored(tenant="u", models=("n",)), None, NOW_S)
    assert (own.name, own.place, own.tenant, own.tier, own.models) == ("own", "config", "t", "free", ["m"])
    assert (b.name, b.place, b.tenant, b.tier, b.models) == ("b", "keys_file", "u", "standard", ["n"])
    assert (own.secrets, b.secrets) == ([Secret(hash_begins="a" * 12)], [Secret(hash_begins="b" * 12)])


@pytest.mark.parametrize("expires_at, state", [(NOW_S + 1, "active"), (NOW_S, "expired")])
def test_a_key_expires_at_its_moment(expires_at: float, state: str) -> None:
    """From then on it is told as expired, as it is refused."""
    own, _ = rows_of(settings(expires_at=expires_at), stored(), None, NOW_S)
    assert own.state == state


def test_a_revoked_key_has_neither_secrets_nor_limits() -> None:
    """Its name, and since when."""
    limits = LimitsSpec(everybody=AllowanceSpec(requests_per_minute=1))
    _, b = rows_of(settings(limits), stored(hashes=(), revoked=NOW), None, NOW_S)
    assert (b.state, b.secrets, b.limits) == ("revoked", [], [])
    assert b.revoked == NOW


def test_limits_of_key_tenant_and_everybody() -> None:
    """Those of the configuration; used is unknown without a gateway, else what it says, else nothing."""
    limits = LimitsSpec(
        keys={"b": AllowanceSpec(budget_per_day=5.0, models={"m": RateSpec(concurrency=2)})},
        tenants={"b": AllowanceSpec(requests_per_second=3)}, tiers=TiersSpec(),
        everybody=AllowanceSpec(tokens_per_day=7),
    )  # fmt: skip
    _, b = rows_of(settings(limits), stored(), None, NOW_S)
    assert b.limits == [
        Limit(of="key", what="budget per day", limit=5.0),
        Limit(of="key", what="calls at once", model="m", limit=2.0),
        Limit(of="tenant", what="requests per second", limit=3.0),
        Limit(of="everybody", what="tokens per day", limit=7.0),
    ]
    gauge = GaugeView(what="budget per day", limit=5.0, used=1.5, held=0.0, left=3.5, free_s=1.0)
    told = AccountView(kind="key", name="b", model="", in_flight=0, waiting=0, concurrency=None, limits=[gauge])
    _, b = rows_of(settings(limits), stored(), [told], NOW_S)
    assert [(one.used, one.left) for one in b.limits] == [(1.5, 3.5), (0.0, 2.0), (0.0, 3.0), (0.0, 7.0)]


def test_pages_go_by_name() -> None:
    """Each page begins after the last name of the one before, entries of one name stay together, and the last page
    says that it is."""
    names = ("c", "a", "d", "a2")
    store = KeyStore(keys=tuple(StoredKey(name=name, made=NOW) for name in names))
    server = ServerSpec(key_names={A: "a", B: "a", "c" * 64: "b"}, open=False)
    found: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        rows, after = page_of(Settings(server=server, gate=GateSpec()), store, None, NOW_S, after, 2)
        found.append([row.name for row in rows])
    assert found == [["a", "a", "a"], ["a2", "b"], ["c", "d"]]


def test_limits_of_a_page_are_told() -> None:
    """A key on a page has the limits that it has in the list of all."""
    whole, limits = stored(tenant="u"), LimitsSpec(keys={"b": AllowanceSpec(requests_per_day=4)})
    rows, _ = page_of(settings(limits), whole, [], NOW_S, "", 10)
    assert rows[0].limits == [Limit(of="key", what="requests per day", limit=4.0, used=0.0, left=4.0)]
    assert rows == rows_of(settings(limits), whole, [], NOW_S)[::-1]
