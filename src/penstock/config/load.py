"""A configuration's text -> the settings that the bodies are built from, or all its mistakes at once.

The way: YAML -> overrides -> variables -> shape (types, units) -> pools' blocks over the gateway's -> `File` -> checks
across fields -> `Settings`. Pure over its arguments: files are read by a function that the caller gives.
"""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from penstock.base.errors import ConfigError
from penstock.config import cache, fleet, names, server
from penstock.config.document import MOST_CHARACTERS, NotYaml, parse
from penstock.config.environment import expand, override
from penstock.config.inherit import lay_over
from penstock.config.key_store import with_stored
from penstock.config.keys import ReadFile, why
from penstock.config.mistakes import Mistakes, Place
from penstock.config.regions import check_regions
from penstock.config.schema import File, Settings
from penstock.config.shape import Shape
from penstock.config.tenants import Tenants
from penstock.config.workers import check_workers
from penstock.core.spec import GateSpec

MOST_READ = 16 << 20
"""Characters of a file beside the configuration: a keys file of some eighty thousand keys."""


def read_text(path: str, most: int = MOST_READ) -> str:
    """A file's text, bounded. Raises OSError, and ValueError where it is too long or not UTF-8."""
    with FilePath(path).open(encoding="utf-8-sig") as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise ValueError(f"more than {most:,} characters")
    return text


def load(text: str, environment: Mapping[str, str], read_file: ReadFile, folder: str = "") -> Settings:
    """Settings from a file's text. Raises ConfigError with all mistakes.

    `environment` serves ${NAME} and PENSTOCK__… overrides; `read_file` serves `file:/path`, the keys file, and looks at
    TLS files, and may raise OSError or ValueError. `folder` is the file's own, where its keys file is looked for.
    """
    mistakes = Mistakes()
    try:
        parsed = parse(text)
    except NotYaml as error:
        raise ConfigError([str(error)]) from None
    mistakes.places = {path: Place(line, f"line {line}") for path, line in parsed.lines.items() if path}
    mistakes.empty = parsed.empty
    for path, problem in parsed.problems:
        mistakes.say(path, problem)
    return _settings(parsed.tree, environment, read_file, mistakes, folder)


def load_file(path: str | FilePath, environment: Mapping[str, str]) -> Settings:
    """Settings from a file on disk. Raises ConfigError, also where the file cannot be read."""
    read_at_s = time.time()
    try:
        text = read_text(str(path), MOST_CHARACTERS)
    except (OSError, ValueError) as error:
        hint = ": name another, or begin with examples/penstock.yaml" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([f"{path}: cannot be read ({why(error)}){hint}"]) from None
    try:
        settings = load(text, environment, read_text, str(FilePath(path).parent))
    except ConfigError as wrong:
        raise ConfigError(wrong.mistakes, str(path)) from None
    return msgspec.structs.replace(settings, read_at_s=read_at_s)


def from_urls(
    urls: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    listen: str | None = None,
    admin: str | None = None,
    engine: str = "auto",
    read_file: ReadFile = read_text,
) -> Settings:
    """Settings of one pool, `default`, over these replicas; models are whatever they list. Raises ConfigError."""
    replicas = [{"url": url, "engine": engine} for url in urls]
    tree: dict[str, Any] = {"pools": [{"name": "default", "replicas": replicas}]}
    tree |= {name: text for name, text in (("listen", listen), ("admin", admin)) if text is not None}
    if not urls:
        raise ConfigError(["--url: found none, expected at least one"])
    try:
        return _settings(tree, environment or {}, read_file, Mistakes())
    except ConfigError as error:
        raise ConfigError([_in_flags(text, urls) for text in error.mistakes]) from None


def _in_flags(text: str, urls: Sequence[str]) -> str:
    """A mistake in the words of the command line, where there is no file."""
    if match := re.match(r"pools\[0\]\.replicas\[(\d+)\]\.url\b", text):
        text = f"--url ({int(match[1]) + 1} of {len(urls)})" + text[match.end() :]
    return re.sub(r"^(listen|admin)\b", r"--\1", text)


def _settings(
    tree: Any, environment: Mapping[str, str], read_file: ReadFile, mistakes: Mistakes, folder: str = ""
) -> Settings:
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError([f"the file: found {mistakes.found((), tree)}, expected a mapping of fields, like `pools:`"])
    shape = Shape(File, mistakes)
    tree = expand(override(tree, environment, shape.root, mistakes), environment, mistakes)
    whole = lay_over(shape.read(tree))
    try:
        file = msgspec.convert(whole, File)
    except msgspec.ValidationError as error:  # only a hole in `shape` leads here
        mistakes.say((), str(error))
        mistakes.raise_if_any()
        raise
    settings = _assemble(file, read_file, mistakes, folder)
    mistakes.raise_if_any()
    return settings


def _assemble(file: File, read_file: ReadFile, mistakes: Mistakes, folder: str) -> Settings:
    file, keys_file, stored, missing = with_stored(file, folder, mistakes, read_file)
    tenants = Tenants(file, mistakes)
    body, warnings = server.assemble(file, tenants, mistakes, read_file)
    body = msgspec.structs.replace(body, keys_file=keys_file, stored_keys=stored)
    warnings += missing + names.check_pools(file, mistakes)
    replicas = fleet.assemble(file, mistakes, read_file)
    warnings += check_regions(file, mistakes)
    check_workers(file, mistakes)
    headers, cookies = fleet.check_sessions(file, mistakes)
    body = msgspec.structs.replace(body, session_headers=headers, session_cookies=cookies, regions=file.regions)
    aliases, said = names.resolve_aliases(file, mistakes)
    fallback = names.resolve_fallback(file, aliases, mistakes)
    warnings += said + names.check_routes(file, aliases, mistakes) + replicas.warnings
    gate = GateSpec(
        pools=tuple(fleet.pool_spec(pool, file.regions) for pool in file.pools), aliases=aliases, fallback=fallback,
        splits=names.resolve_splits(file, aliases, mistakes),
        routes=tuple(
            msgspec.structs.replace(rule, model=aliases.get(rule.model, rule.model)) if rule.model else rule
            for rule in file.routes
        ),
        max_waiting=file.max_waiting,
        explain=file.explain,
        limits=tenants.limits(),
        cache=cache.assemble(file, mistakes),
        shared_cache=body.shared_cache is not None,
    )  # fmt: skip
    return Settings(
        server=body, gate=gate, replicas=tuple(replicas.replicas.values()), access=replicas.access,
        sources=tuple(replicas.sources), scaled=tuple(replicas.scaled), warnings=tuple(warnings),
    )  # fmt: skip
