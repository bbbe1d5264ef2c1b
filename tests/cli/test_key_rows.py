"""Rows of keys: states, terms, and limits by the configuration and by a gateway."""

import pytest

from penstock.base.nouns import AccountView, GaugeView
from penstock.cli.key_rows import Limit, Row, Secret, limits_table, rows_of, rows_table, state_text
from penstock.cli.plain import plain_console
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
    assert state_text(b) == "revoked 1970-01-02 00:00 UTC"


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


def test_tables_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers as people read them; what is not known is left empty."""
    row = Row(
        name="a", place="config", tenant="a", tier="free", priority_ceiling="low", models=[], state="active",
        limits=[Limit(of="key", what="budget per day", limit=1234.5, used=0.25, left=1234.25)],
    )  # fmt: skip
    plain_console().print(rows_table([row]))
    plain_console().print(limits_table([*row.limits, Limit(of="everybody", what="tokens per day", limit=1e6)]))
    said = " ".join(capsys.readouterr().out.split())
    assert "a a free low none never active 0.25 of 1,234 budget per day" in said
    assert "this key all models budget per day 1,234 0.25 1,234" in said
    assert "everybody all models tokens per day 1,000,000" in said
