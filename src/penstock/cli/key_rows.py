"""What `penstock keys list` and `show` tell of a key: its settings, its state, and what is used of its limits."""

from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace
from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.base.nouns import AccountView
from penstock.config.key_store import KeyStore, StoredKey, moment
from penstock.config.schema import KeyTerms, ServerSpec, Settings
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, RateSpec

SHOWN_DIGITS = 12
"""Of a hash: enough to find it in the file."""
_RATES = (
    "requests_per_second", "requests_per_minute", "requests_per_hour", "requests_per_day", "tokens_per_minute",
    "tokens_per_hour", "tokens_per_day", "budget_per_day", "budget_per_month",
)  # fmt: skip
AT_ONCE = "calls at once"


class Secret(Struct, frozen=True, kw_only=True):
    """One of a key's secrets that holds."""

    hash_begins: str
    until: str | None = None
    """None: as long as the key."""


class Limit(Struct, frozen=True, kw_only=True):
    """One limit that the key's calls must pass."""

    of: str
    """key, tenant, everybody: who shares it."""
    what: str
    limit: float
    model: str = ""
    """The one model that it is for; empty: all."""
    used: float | None = None
    """None: no gateway told."""
    left: float | None = None


class Row(Struct, frozen=True, kw_only=True):
    """One key. Times are UTC."""

    name: str
    place: str
    """config, keys_file."""
    tenant: str
    tier: str
    priority_ceiling: str
    models: list[str] | None
    """Names that it may ask for; None: all."""
    state: str
    """active, rotating, expired, revoked."""
    made: str | None = None
    expires: str | None = None
    revoked: str | None = None
    secrets: list[Secret] = field(default_factory=list)
    """The newest last."""
    limits: list[Limit] = field(default_factory=list)


def rows_of(settings: Settings, store: KeyStore, accounts: list[AccountView] | None, now_s: float) -> list[Row]:
    """All keys: the configuration's, then those of the keys file. `accounts`: as a gateway that runs told them."""
    server = settings.server
    stored = set(server.stored_keys or ())
    rows = [_written(server, digest, now_s) for digest in server.key_names if digest not in stored]
    rows += [_stored(server, key, now_s) for key in store.keys]
    return [_with_limits(row, settings.gate.limits, accounts) for row in rows]


def _written(server: ServerSpec, digest: str, now_s: float) -> Row:
    name, terms = server.key_names[digest], server.key_terms.get(digest, KeyTerms())
    expired = terms.expires_at is not None and terms.expires_at <= now_s
    return Row(
        name=name, place="config", tenant=terms.tenant or name, tier=terms.tier, priority_ceiling=terms.ceiling,
        models=None if terms.models is None else list(terms.models), state="expired" if expired else "active",
        expires=None if terms.expires_at is None else moment(terms.expires_at),
        secrets=[Secret(hash_begins=digest[:SHOWN_DIGITS])],
    )  # fmt: skip


def _stored(server: ServerSpec, key: StoredKey, now_s: float) -> Row:
    newest = key.hashes[-1].hash.removeprefix("sha256:") if key.hashes else ""
    terms = server.key_terms.get(newest, KeyTerms(tier=key.tier or "standard"))
    models = key.models if terms.models is None else terms.models
    now = moment(now_s)
    return Row(
        name=key.name, place="keys_file", tenant=key.tenant or key.name, tier=terms.tier,
        priority_ceiling=key.priority_ceiling or "critical", models=None if models is None else list(models),
        state=key.state(now_s), made=key.made, expires=key.expires, revoked=key.revoked,
        secrets=[
            Secret(hash_begins=one.hash.removeprefix("sha256:")[:SHOWN_DIGITS], until=one.until)
            for one in key.hashes if one.until is None or one.until > now
        ],
    )  # fmt: skip


# ===== limits =====


def _with_limits(row: Row, spec: LimitsSpec | None, accounts: list[AccountView] | None) -> Row:
    if row.state == "revoked":
        return row
    found: dict[tuple[str, str, str], Limit] = {}
    for limit in _configured(row, spec, told=accounts is not None):
        found[limit.of, limit.model, limit.what] = limit
    for account in accounts or ():
        if (account.kind, account.name) in (("key", row.name), ("tenant", row.tenant)) or account.kind == "everybody":
            for limit in _told(account):
                found[limit.of, limit.model, limit.what] = limit
    return replace(row, limits=list(found.values()))


def _configured(row: Row, spec: LimitsSpec | None, told: bool) -> Iterable[Limit]:
    """By the configuration. What a gateway that runs does not mention, nobody has used yet."""
    if spec is None:
        return
    tiers = None if spec.tiers is None else spec.tiers.of(row.tier)
    given = (("key", spec.keys.get(row.name)), ("tenant", spec.tenants.get(row.tenant, tiers)))
    for of, allowance in (*given, ("everybody", spec.everybody)):
        if allowance is None:
            continue
        for model, rates in _parts(allowance):
            named = [(name.replace("_", " "), getattr(rates, name)) for name in _RATES]
            for what, limit in [*named, (AT_ONCE, rates.concurrency)]:
                if limit is not None:
                    used, left = (0.0, float(limit)) if told else (None, None)
                    yield Limit(of=of, what=what, model=model, limit=float(limit), used=used, left=left)


def _parts(allowance: AllowanceSpec) -> list[tuple[str, RateSpec]]:
    return [("", allowance), *allowance.models.items()]


def _told(account: AccountView) -> Iterable[Limit]:
    for gauge in account.limits:
        yield Limit(
            of=account.kind, what=gauge.what, model=account.model, limit=gauge.limit, used=gauge.used, left=gauge.left
        )
    if account.concurrency is not None:
        yield Limit(
            of=account.kind, what=AT_ONCE, model=account.model, limit=account.concurrency, used=account.in_flight,
            left=max(0, account.concurrency - account.in_flight),
        )  # fmt: skip


# ===== for people =====


def rows_table(rows: list[Row]) -> Table:
    """Keys, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("key", "tenant", "tier", "priority up to", "models", "expires", "state", "used", "hash begins"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            row.name, row.tenant, row.tier, row.priority_ceiling, models_text(row.models), _until(row.expires),
            state_text(row), _nearest(row.limits), ", ".join(one.hash_begins for one in reversed(row.secrets)),
        )  # fmt: skip
    return table


def limits_table(limits: list[Limit]) -> Table:
    """Limits, one a line."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("limit of", "for", "what", "limit", "used", "left"):
        table.add_column(name, justify="right" if name in ("limit", "used", "left") else "left")
    for one in limits:
        table.add_row(
            "this key" if one.of == "key" else "its tenant" if one.of == "tenant" else "everybody",
            one.model or "all models", one.what, _number(one.limit), _number(one.used), _number(one.left),
        )  # fmt: skip
    return table


def models_text(models: list[str] | None) -> str:
    """What a key may ask for."""
    return "all" if models is None else ", ".join(models) or "none"


def state_text(row: Row) -> str:
    """The state, and until when or since when."""
    if row.state == "rotating":
        ends = max(one.until for one in row.secrets if one.until is not None)
        return f"rotating: an older one until {_short(ends)}"
    return f"revoked {_short(row.revoked)}" if row.revoked is not None else row.state


def _nearest(limits: list[Limit]) -> str:
    """The limit of which the least share is left."""
    told = [one for one in limits if one.left is not None and one.limit]
    if not told:
        return ""
    one = min(told, key=lambda one: (one.left or 0) / one.limit)
    return f"{_number(one.used)} of {_number(one.limit)} {one.what}"


def _until(at: str | None) -> str:
    return "never" if at is None else _short(at)


def _short(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"
