"""What `penstock keys list` and the admin API tell of keys: settings, state, and what is used of their limits. Of a
secret they tell how its hash begins.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from msgspec import Struct, field
from msgspec.structs import replace

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
    return _with_limits(_all(settings.server, store, now_s), settings, accounts)


def page_of(
    settings: Settings, store: KeyStore, accounts: list[AccountView] | None, now_s: float, after: str, count: int
) -> tuple[list[Row], str | None]:
    """So many keys by name, those after a name, and after which one the next page begins; None: it was the last.
    Entries of one name stand on one page."""
    wanted = sorted((row for row in _all(settings.server, store, now_s) if row.name > after), key=lambda row: row.name)
    page: list[Row] = []
    for _, rows in groupby(wanted, key=lambda row: row.name):
        if len(page) >= count:
            return _with_limits(page, settings, accounts), page[-1].name
        page += rows
    return _with_limits(page, settings, accounts), None


def _all(server: ServerSpec, store: KeyStore, now_s: float) -> list[Row]:
    stored = set(server.stored_keys or ())
    rows = [_written(server, digest, now_s) for digest in server.key_names if digest not in stored]
    return rows + [_stored(server, key, now_s) for key in store.keys]


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


def _with_limits(rows: list[Row], settings: Settings, accounts: list[AccountView] | None) -> list[Row]:
    spec = settings.gate.limits
    told: dict[tuple[str, str], list[AccountView]] = {}
    for account in accounts or ():
        name = "" if account.kind == "everybody" else account.name
        told.setdefault((account.kind, name), []).append(account)
    return [row if row.state == "revoked" else _limited(row, spec, None if accounts is None else told) for row in rows]


def _limited(row: Row, spec: LimitsSpec | None, told: Mapping[tuple[str, str], list[AccountView]] | None) -> Row:
    found: dict[tuple[str, str, str], Limit] = {}
    for limit in _configured(row, spec, told=told is not None):
        found[limit.of, limit.model, limit.what] = limit
    for whose in (("key", row.name), ("tenant", row.tenant), ("everybody", "")):
        for account in (told or {}).get(whose, ()):
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
