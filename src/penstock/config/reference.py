"""The reference page and the JSON Schema, both made from the types of `config.schema`, so that neither can lie."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as ty

from penstock.config.schema import File
from penstock.config.shape import bare, nullable, options

_HEAD = """\
# Configuration reference

<!-- Made by `penstock check --reference` from src/penstock/config/schema.py. Do not edit. -->

One YAML file. `penstock check FILE` reports every mistake in it at once and prints what holds. `penstock check
--schema` prints a JSON Schema for editors: begin the file with `# yaml-language-server: $schema=penstock.schema.json`.
`examples/penstock.yaml` is a small useful file, `examples/full.yaml` shows every block.

## How values are written

- **Durations** are numbers of seconds, or texts like `30s`, `500ms`, `1m30s` (units: us, ms, s, m, h, d).
- **Sizes** are numbers of bytes, or texts like `64KiB`, `32MiB`, `1GB` (Ki, Mi, Gi count by 1024; k, M, G by 1000).
- **Texts** follow YAML 1.2: `no`, `on` and `1:30` are texts, and only `true` and `false` are truth values. Anchors,
  aliases and `<<` work; tags (`!…`) and keys written twice are mistakes.
- **null** stands for "none" below. A block that is left empty is one that is left out.
  Any other field with nothing behind its name is a mistake: who means "none" writes null.
- **Variables**: `${NAME}` in any text is replaced from the environment; `${NAME:-default}` has a default for a name
  that is unset or empty; `$${` is a literal `${`. A name that is not set and has no default is a mistake.
- **Secrets** (`keys[].key`, `admin_key`, `api_key`, values of `headers`) may be `file:/path`: the file's text, without
  the line end. Keys of clients and of the admin API are kept as SHA-256 only; `penstock check` prints the hash.
- **Overrides**: a variable `PENSTOCK__…` sets one field, over the file: the path in capitals, joined by two
  underscores, items of lists by their number: `PENSTOCK__LISTEN=127.0.0.1:80`, `PENSTOCK__QUEUE__TIMEOUT=60s`,
  `PENSTOCK__POOLS__0__STRATEGY=round_robin`. Lists and blocks are written as YAML:
  `PENSTOCK__POOLS__0__MODELS='[a, b]'`. The number after the last adds an item. Mappings with names of your own
  (`aliases`, `fallback`, `headers`) are set as a whole. Texts are taken as they are: there is no `${…}` in them.

## Rules across fields

- `queue`, `timeouts`, `retries`, `breaker`, `outliers`, `panic`, `probe` and `scrape` of a pool are laid over the
  gateway's, field by field.
- Without `keys` and `keys_file` the gateway is open, and then `listen` must be a loopback address, unless `auth: none`
  is written. An `admin` address beyond loopback needs `admin_key`.
- Two entries of `keys` may have the same name: so a key is changed without a gap.
- A replica's `id` is its host:port and base path unless it is given. Ids are unique in the whole file.
- A model may stand in several pools: they are tried in the file's order, the next where the one before cannot serve.
- Aliases may stand for aliases, though not in a circle, and may be used in `fallback` and `routes`. Where every pool
  lists its models, names that none of them serves are mistakes.
- Two models may be each other's `fallback`: the fallback of a fallback is not tried.
- Relative paths of files are seen from the directory in which the gateway was started; that of `keys_file` from the
  folder of this file.
- Changes of `listen`, `admin`, `metrics`, `tls`, `journal`, `ledger` and `limits.backlog` need a restart; all others
  are taken by a reload (SIGHUP, a change of the file or of its keys file, or the admin API). A file with mistakes
  changes nothing, but that revoked keys are refused.
"""
_SPEC_TAGS = re.compile(r" \[[A-Z]\d+(?:, [A-Z]\d+)*\]")
"""Where a docstring points into the project's specification: of no use to who writes a configuration."""

_TEXTS = {
    "Variable": {"description": "what a variable says", "type": "string", "pattern": r"\$\{"},
    "Duration": {"type": "string", "pattern": r"^([0-9.]+|([0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h|d))+)$|\$\{"},
    "Size": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]?$|\$\{"},
}
"""Texts that stand for something else, by the name of their definition in the schema."""


def markdown() -> str:
    """The reference page."""
    return f"{_HEAD}\n## Fields\n{tables(File, {})}"


def tables(root: type, elsewhere: Mapping[type, str]) -> str:
    """A heading and a table for every block of a file, but those that are told `elsewhere` (the type -> its link)."""
    blocks = _blocks(root, elsewhere)
    links = {**elsewhere, **places(root, elsewhere)}
    return "".join(
        f"\n### {path}\n\n{_first_paragraph(block.cls)}\n\n" + "\n".join(_rows(block, links)) + "\n"
        for path, block in blocks
    )


def places(root: type, elsewhere: Mapping[type, str]) -> dict[type, str]:
    """Block -> link to its heading in the page of `root`."""
    return {block.cls: f"#{_anchor(path)}" for path, block in reversed(_blocks(root, elsewhere))}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file."""
    schema = msgspec.json.schema(File)
    found: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock configuration",
    }
    found |= {"$ref": schema["$ref"], "$defs": {}}
    for name, definition in schema["$defs"].items():
        found["$defs"][name] = _with_variables(definition)
    found["$defs"] |= _TEXTS
    strategy = found["$defs"]["PoolConf"]["properties"]["strategy"]
    names = sorted(strategy["discriminator"]["mapping"])
    strategy["anyOf"] = [{"type": "string", "enum": names}, *strategy["anyOf"], {"$ref": "#/$defs/Variable"}]
    del strategy["discriminator"]  # OpenAPI's word; a plain text has no property that could discriminate
    return found


def schema_text() -> str:
    """The JSON Schema as it is printed and shipped."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _with_variables(node: Any) -> Any:
    """The schema, with ${NAME} allowed where a number, a truth value or one of some words is expected."""
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"enum"} and len(node["enum"]) == 1:  # a strategy's own name, in its long form
        return node
    walked = {name: value if name == "default" else _with_variables(value) for name, value in node.items()}
    if isinstance(walked.get("description"), str):
        walked["description"] = _SPEC_TAGS.sub("", walked["description"])
    if node.get("type") in ("integer", "number", "boolean") or ("enum" in node and isinstance(node["enum"], list)):
        about = {name: walked.pop(name) for name in ("description", "default", "examples") if name in walked}
        # msgspec keeps its own `type` over the one that base.units gives, so the examples tell a unit from a number
        text = "Variable" if "examples" not in about else "Duration" if walked["type"] == "number" else "Size"
        return {**about, "anyOf": [walked, {"$ref": f"#/$defs/{text}"}]}
    return walked


# ===== the page =====


def _blocks(root: type, elsewhere: Mapping[type, str]) -> list[tuple[str, ty.StructType]]:
    """Every block with its path, in the file's order; each type once, at the first place where it stands."""
    found: dict[type, tuple[str, ty.StructType]] = {}

    def visit(path: str, block: ty.StructType) -> None:
        if block.cls in found or block.cls in elsewhere:
            return
        found[block.cls] = (path or "Top level", block)
        for field in block.fields:
            for member, suffix in _inner(field.type):
                tag = f" ({member.tag})" if member.tag else ""
                visit((f"{path}." if path else "") + field.encode_name + suffix + tag, member)

    top = ty.type_info(root)
    assert isinstance(top, ty.StructType)
    visit("", top)
    return list(found.values())


def _anchor(path: str) -> str:
    """The anchor that renderers of Markdown give a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", path.lower()).replace(" ", "-")


def _inner(kind: ty.Type) -> Iterator[tuple[ty.StructType, str]]:
    for member in options(kind):
        if isinstance(member, ty.StructType):
            yield member, ""
        elif isinstance(member, ty.VarTupleType):
            for inner, suffix in _inner(member.item_type):
                yield inner, "[]" + suffix
        elif isinstance(member, ty.DictType):
            for inner, suffix in _inner(member.value_type):
                yield inner, "[name]" + suffix


def _first_paragraph(cls: type) -> str:
    return _SPEC_TAGS.sub("", " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split()))


def _rows(block: ty.StructType, links: dict[type, str]) -> Iterator[str]:
    if not block.fields:
        yield "No settings."
        return
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    for field in sorted(block.fields, key=lambda one: not one.required):
        meaning = bare(field.type)[2] or _meaning_of_block(field.type)
        cells = (f"`{field.encode_name}`", _linked(field.type, links), _default(field), meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _linked(kind: ty.Type, links: dict[type, str]) -> str:
    """A type in words; blocks lead to their own tables."""
    blocks = [member for member, _ in _inner(kind)]
    if not blocks:
        return _type_name(kind)
    if len(blocks) > 1:
        return ", ".join(f"[`{member.tag}`]({links[member.cls]})" for member in blocks)
    return re.sub(r"\bblocks?\b", lambda match: f"[{match[0]}]({links[blocks[0].cls]})", _type_name(kind))


def _meaning_of_block(kind: ty.Type) -> str:
    member = options(kind)[0]
    return _first_paragraph(member.cls) if isinstance(member, ty.StructType) else ""


def _type_name(kind: ty.Type, plural: str = "") -> str:
    unit = bare(kind)[1]
    if unit:
        words = ("duration" if unit == "seconds" else "size") + plural
    else:
        words = " or ".join(dict.fromkeys(_member_name(member, plural) for member in options(kind)))
    return words + (" or null" if nullable(kind) else "")


def _member_name(member: ty.Type, plural: str) -> str:
    match member:
        case ty.StructType():
            return "block" + plural
        case ty.LiteralType():
            return ", ".join(f"`{value}`" for value in member.values)
        case ty.IntType() | ty.FloatType():
            return ("whole number" if isinstance(member, ty.IntType) else "number") + plural + _range(member)
        case ty.BoolType():
            return "`true`, `false`"
        case ty.VarTupleType():
            return f"list{plural} of {_type_name(member.item_type, 's')}"
        case ty.TupleType():
            return f"list{plural} of {len(member.item_types)} {_type_name(member.item_types[0], 's')}"
        case ty.DictType():
            return f"mapping{plural} of texts to {_type_name(member.value_type, 's')}"
    return "text" + plural


def _range(kind: ty.IntType | ty.FloatType) -> str:
    if kind.le is not None:
        return f" {kind.ge} to {kind.le}" if kind.ge is not None else f" > {kind.gt} to {kind.le}"
    if kind.ge is not None:
        return f" ≥ {kind.ge}"
    return f" > {kind.gt}" if kind.gt is not None else ""


def _default(field: ty.Field) -> str:
    if field.required:
        return "*required*"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        return f"`{tag}`" if tag else ""
    return f"`{written(value, bare(field.type)[1])}`"


def written(value: Any, unit: str | None = None) -> str:
    """A value as it would stand in the file: 30.0 seconds -> 30s, 65536 bytes -> 64KiB."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if unit == "seconds":
        return _in_units(float(value), (("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 1e-3))) or f"{value:g}s"
    if unit == "bytes":
        return _in_units(value, (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))) or str(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(written(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else '""'


def _in_units(value: float, units: tuple[tuple[str, float], ...]) -> str:
    for name, size in units:
        count = value / size
        if count >= 1 and round(count, 6) == int(round(count, 6)):
            return f"{int(round(count, 6))}{name}"
    return ""
