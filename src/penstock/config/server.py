"""The gateway's body from what the file says of it: addresses, who may call, TLS, and numbers that cannot work."""

import time

import msgspec

from penstock.config.addresses import LISTEN_FORM, collide, is_loopback, parse_listen, parse_network, show_address
from penstock.config.fleet import check_pem
from penstock.config.keys import ReadFile, client_keys, hash_of, plain_key_warning
from penstock.config.mistakes import Mistakes, Path
from penstock.config.schema import File, PoolConf, ServerSpec
from penstock.config.sharing import STORES
from penstock.config.tenants import Tenants
from penstock.config.workers import workers
from penstock.core.spec import ProbeSpec

Address = tuple[str, int]

_POSITIVE = {
    "timeouts": ("connect", "first_byte", "idle", "request_head", "request_body", "send"),
    "probe": ("timeout",),
    "scrape": ("timeout",),
    "limits": ("head", "body", "buffered"),
    "ledger": ("journal",),
    "shared_limits": ("lease",),
}
"""Fields where 0 would mean that nothing works, rather than "never" or "at once"."""
DATABASES = ("sqlite://", "postgresql://", "postgresql+psycopg://", "postgres://")
"""How the URL of a ledger's database may begin."""
SHORTEST_INTERVAL_S = 0.05
"""Probing and scraping more often than this would be a load of its own."""


def assemble(
    file: File, tenants: Tenants, mistakes: Mistakes, read_file: ReadFile
) -> tuple[ServerSpec, list[str]]:  # fmt: skip
    """The body's spec, and warnings."""
    listen = _address(file.listen, ("listen",), mistakes)
    admin = _address(file.admin, ("admin",), mistakes)
    metrics = _address(file.metrics, ("metrics",), mistakes)
    _check_collisions({"listen": listen, "admin": admin, "metrics": metrics}, mistakes)
    key_names, key_terms, warnings = client_keys(file.keys, tenants, mistakes, read_file, time.time())
    _check_auth(file, listen, mistakes)
    admin_hash = None
    if file.admin_key is not None:
        admin_hash = hash_of(file.admin_key, ("admin_key",), mistakes, read_file)
        warnings += plain_key_warning(file.admin_key, "admin_key", ("admin_key",), mistakes)
    elif admin and not is_loopback(admin[0]) and not mistakes.is_broken(("admin_key",)):
        hint = "set `admin_key`, or bind 127.0.0.1"
        mistakes.say(("admin",), f"{show_address(admin)} can be reached from outside", hint)
    if file.tls is not None:
        check_pem(file.tls.cert, "CERTIFICATE", ("tls", "cert"), mistakes, read_file)
        check_pem(file.tls.key, "PRIVATE KEY", ("tls", "key"), mistakes, read_file)
    check_numbers(file, mistakes)
    if file.ledger is not None and not (file.ledger.database or "sqlite://").startswith(DATABASES):
        # what it says may hold a password, and is not shown
        mistakes.say(("ledger", "database"), "expected a URL, like postgresql://user@host/name or sqlite:////path")
    if file.shared_limits is not None and not file.shared_limits.store.startswith(STORES):
        mistakes.say(("shared_limits", "store"), "expected a URL, like redis://host:6379/0")  # nor this
    spec = ServerSpec(
        listen=listen or ("127.0.0.1", 8080), admin=admin, metrics=metrics, admin_key_hash=admin_hash,
        key_names=key_names, key_terms=key_terms, open=not file.keys and file.keys_file is None, tls=file.tls,
        most_tokens=tenants.most_tokens("anonymous", "standard", None),
        trusted_proxies=_networks(file, mistakes),
        limits=file.limits, timeouts=file.timeouts, upstream=file.upstream, log=file.log, journal=file.journal,
        compression=file.compression,
        ledger=file.ledger, workers=workers(file),
        lease_store=None if file.shared_limits is None else file.shared_limits.store,
        shared_cache=None if file.cache is None else file.cache.redis,
    )  # fmt: skip
    return spec, warnings


def _address(text: str | None, path: Path, mistakes: Mistakes) -> Address | None:
    if text is None:
        return None
    try:
        return parse_listen(text)
    except ValueError as error:
        mistakes.wrong(path, text, LISTEN_FORM, str(error))
        return None


def _check_collisions(addresses: dict[str, Address | None], mistakes: Mistakes) -> None:
    before: list[tuple[str, Address]] = []
    for name, address in addresses.items():
        if address is None:
            continue
        for other, taken in before:
            if collide(address, taken):
                mistakes.say((name,), f"{show_address(address)} is taken by `{other}`", "choose another port")
        before.append((name, address))


def _check_auth(file: File, listen: Address | None, mistakes: Mistakes) -> None:
    if mistakes.any_below("keys") or mistakes.is_broken(("auth",)):
        return
    asks = bool(file.keys) or file.keys_file is not None
    if file.auth == "none" and asks:
        mistakes.say(("auth",), "with `none` nobody is asked for a key, and there are keys", "leave out one of the two")
    if file.auth == "keys" and not asks:
        mistakes.say(("auth",), "there are no keys", "add some under `keys`, or write `auth: none`")
    if file.auth is None and not asks and listen and not is_loopback(listen[0]):
        hint = "add `keys`, bind 127.0.0.1, or write `auth: none` if everybody may call"
        mistakes.say(("listen",), f"{show_address(listen)} can be reached from outside, and there are no keys", hint)


def _networks(file: File, mistakes: Mistakes) -> tuple[str, ...]:
    found: list[str] = []
    for at, text in enumerate(file.trusted_proxies):
        try:
            found.append(parse_network(text))
        except ValueError as error:
            mistakes.wrong(("trusted_proxies", at), text, "an address or a network, like 10.0.0.0/8", str(error))
    return tuple(found)


MOST_PACKED_BYTES = 4 << 20
"""About 40 ms of compressing at level 1, most of a second at level 9."""


def check_numbers(file: File, mistakes: Mistakes) -> None:
    """Numbers that fit their types and still cannot work."""
    _check_blocks(file, (), mistakes)
    for at, pool in enumerate(file.pools):
        _check_blocks(pool, ("pools", at), mistakes)
    if file.compression is not None and file.compression.max_bytes > MOST_PACKED_BYTES:
        mistakes.say(("compression", "max"), "found more than 4MiB: so long everybody would wait for one answer")
    limits = file.limits
    if limits.buffered_bytes < limits.body_bytes:
        mistakes.say(("limits", "buffered"), "it is less than `body`, so a body of that size could never be taken")


def _check_blocks(owner: File | PoolConf, path: Path, mistakes: Mistakes) -> None:
    if isinstance(owner, PoolConf):
        _check_strategy(owner, (*path, "strategy"), mistakes)
    for block, names in _POSITIVE.items():
        for name in names:
            value = _value(owner, block, name)
            if value == 0 and mistakes.is_written((*path, block, name)):
                mistakes.say((*path, block, name), "found 0, expected more than 0")
    for block in ("probe", "scrape"):
        interval = _value(owner, block, "interval")
        if interval is not None and interval < SHORTEST_INTERVAL_S and mistakes.is_written((*path, block, "interval")):
            mistakes.say((*path, block, "interval"), f"found {interval:g} s, expected at least 50ms")
    _check_probe(owner.probe, (*path, "probe"), mistakes)


def _check_strategy(pool: PoolConf, path: Path, mistakes: Mistakes) -> None:
    """Times of a strategy are divided by."""
    for field in msgspec.structs.fields(pool.strategy):
        if field.name.endswith("_s") and getattr(pool.strategy, field.name) == 0:
            mistakes.say((*path, field.encode_name), "found 0, expected more than 0")


def _check_probe(probe: ProbeSpec, path: Path, mistakes: Mistakes) -> None:
    good = probe.status is None or 100 <= probe.status[0] <= probe.status[1] <= 599
    if not good and mistakes.is_written((*path, "status")) and not mistakes.any_below(*path, "status"):
        mistakes.say((*path, "status"), "expected the lowest and the highest status, between 100 and 599")
    if probe.path is not None and not probe.path.startswith("/") and mistakes.is_written((*path, "path")):
        mistakes.wrong((*path, "path"), probe.path, "a path", "it begins with /")


def _value(owner: msgspec.Struct, block: str, name: str) -> float | None:
    part = getattr(owner, block, None)
    for field in msgspec.structs.fields(part) if part is not None else ():
        if field.encode_name == name:
            value: float = getattr(part, field.name)
            return value
    return None
