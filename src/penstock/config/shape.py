"""Holds plain data against the types of `config.schema`: units become numbers, and every misfit is a mistake.

Why not msgspec.convert alone: it stops at the first misfit and shows keys of mappings as `[...]`. This reader walks
the same types (`msgspec.inspect`), says everything it finds, and hands back a tree that always converts: a bad value
is left out where there is a default and replaced by a filler where there is none, and its path is marked broken.
"""

import math
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as ty

from penstock.base.units import parse_bytes, parse_seconds
from penstock.config.document import NotYaml, parse
from penstock.config.mistakes import Mistakes, Path, did_you_mean

MOST_SECONDS = 366 * 86400.0
MOST_BYTES = 1 << 53
MOST_INT = (1 << 31) - 1
"""Counts end in C ints (listen's backlog) and in JSON numbers."""

MOST_HOMES = 8
"""Places that are looked at for each struct: types may hold themselves (workloads of workloads)."""

_BAD: Any = object()
_BLOCKS = (ty.StructType, ty.VarTupleType, ty.ListType, ty.DictType)


def bare(kind: ty.Type) -> tuple[ty.Type, str | None, str]:
    """A type without its annotations, its unit, and its description."""
    unit, description, inner = None, "", kind
    while isinstance(inner, ty.Metadata):
        unit = unit or (inner.extra or {}).get("unit")
        description = description or (inner.extra_json_schema or {}).get("description", "")
        inner = inner.type
    if unit is None and isinstance(inner, ty.UnionType):  # a duration or null is written like a duration
        members = [member for member in inner.types if not isinstance(member, ty.NoneType)]
        unit = bare(members[0])[1] if len(members) == 1 else None
    return inner, unit, description


def options(kind: ty.Type) -> list[ty.Type]:
    """The members of a union other than null; a single type is its own only member."""
    plain = bare(kind)[0]
    members = plain.types if isinstance(plain, ty.UnionType) else (plain,)
    return [bare(member)[0] for member in members if not isinstance(member, ty.NoneType)]


def nullable(kind: ty.Type) -> bool:
    """Whether null is a value of this type."""
    plain = bare(kind)[0]
    return isinstance(plain, ty.UnionType) and any(isinstance(member, ty.NoneType) for member in plain.types)


def names_of(structs: list[ty.StructType]) -> dict[str, ty.StructType]:
    """Tagged structs by their tag."""
    return {str(struct.tag): struct for struct in structs}


def expected(kind: ty.Type) -> str:
    """A type in words, as it ends "expected …"."""
    unit = bare(kind)[1]
    members = options(kind)
    tail = " or null" if nullable(kind) else ""
    if all(isinstance(member, ty.StructType) and member.tag for member in members):
        return "one of " + ", ".join(names_of([m for m in members if isinstance(m, ty.StructType)])) + tail
    if len(members) > 1:
        return " or ".join(expected(member) for member in members) + tail
    return (_in_unit(unit) if unit else _in_words(members[0])) + tail


def _in_unit(unit: str) -> str:
    if unit == "seconds":
        return "a duration: a number of seconds, or like 30s, 500ms, 1m30s"
    return "a size: a number of bytes, or like 64KiB, 32MiB, 1GiB"


def _in_words(kind: ty.Type) -> str:
    match kind:
        case ty.StrType():
            length = f" of {kind.min_length} to {kind.max_length} characters" if kind.max_length else ""
            return f"a text{length}"
        case ty.IntType():
            return "a whole number" + _bounds(kind)
        case ty.FloatType():
            return "a number" + _bounds(kind)
        case ty.BoolType():
            return "true or false"
        case ty.LiteralType():
            return ("one of " if len(kind.values) > 1 else "") + ", ".join(map(str, kind.values))
        case ty.VarTupleType() | ty.ListType():
            return "a list"
        case ty.TupleType():
            return f"a list of {len(kind.item_types)} values, each {expected(kind.item_types[0])}"
    return "a mapping"


def _bounds(kind: ty.IntType | ty.FloatType) -> str:
    low = f" of at least {kind.ge}" if kind.ge is not None else f" above {kind.gt}" if kind.gt is not None else ""
    if kind.le is not None:
        return f"{low} and at most {kind.le}" if kind.ge is None else f" from {kind.ge} to {kind.le}"
    return low


@cache
def inspected(root: type[msgspec.Struct]) -> ty.Type:
    """What may stand in a block, worked out once: it takes longer than a reading, during which a gateway that reloads
    does nothing else."""
    return ty.type_info(root)


@cache
def _homes(root: type[msgspec.Struct]) -> dict[str, list[str]]:
    return _homes_of(inspected(root))


class Shape:
    """One reading of one tree."""

    def __init__(self, root: type[msgspec.Struct], mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self.root = inspected(root)
        self._homes = _homes(root)

    def read(self, tree: Any) -> dict[str, Any]:
        """The tree with units as numbers, short forms written out, and without what was wrong."""
        value = self._read(self.root, tree, ())
        return value if isinstance(value, dict) else {}

    def _read(self, kind: ty.Type, value: Any, path: Path) -> Any:
        if value is None and not nullable(kind) and isinstance(bare(kind)[0], _BLOCKS):
            value = [] if isinstance(bare(kind)[0], ty.VarTupleType | ty.ListType) else {}  # a block left empty
        if isinstance(value, str) and path in self._mistakes.given:
            value = self._from_text(kind, value)
        if value is None:
            return None if nullable(kind) else self._bad(kind, value, path)
        members = options(kind)
        structs = [member for member in members if isinstance(member, ty.StructType)]
        if structs and (len(structs) == len(members) or isinstance(value, dict)):  # a text or a block: by what is found
            return self._struct(kind, structs, value, path)
        unit = bare(kind)[1]
        for member in members:
            if _fits(member, value, unit):
                return self._plain(kind, member, value, path)
        return self._bad(kind, value, path)

    def _plain(self, kind: ty.Type, member: ty.Type, value: Any, path: Path) -> Any:
        match member:
            case ty.VarTupleType() | ty.ListType():
                return [self._item(member.item_type, item, (*path, at)) for at, item in enumerate(value)]
            case ty.TupleType():
                if len(value) != len(member.item_types):
                    return self._bad(kind, value, path, f"this one has {len(value)}")
                pairs = zip(member.item_types, value, strict=True)
                return [self._item(of, item, (*path, at)) for at, (of, item) in enumerate(pairs)]
            case ty.DictType():
                return {name: self._item(member.value_type, item, (*path, name)) for name, item in value.items()}
            case ty.IntType() | ty.FloatType():
                return self._number(kind, member, value, path)
            case ty.StrType():
                fits = (member.min_length or 0) <= len(value) <= (member.max_length or len(value))
                return value if fits else self._bad(kind, value, path)
            case ty.LiteralType():
                if value in member.values:
                    return value
                return self._bad(kind, value, path, did_you_mean(value, map(str, member.values)))
        return value

    def _item(self, kind: ty.Type, value: Any, path: Path) -> Any:
        read = self._read(kind, value, path)
        return filler(kind) if read is _BAD else read

    def _number(self, kind: ty.Type, member: ty.IntType | ty.FloatType, value: Any, path: Path) -> Any:
        unit = bare(kind)[1]
        most: float = {"seconds": MOST_SECONDS, "bytes": MOST_BYTES}.get(unit or "", MOST_INT)
        written = value
        if isinstance(value, str):
            try:
                value = parse_seconds(value) if unit == "seconds" else parse_bytes(value)
            except (ValueError, OverflowError):
                return self._bad(kind, written, path)
        if not math.isfinite(value) or abs(value) > most:
            return self._bad(kind, written, path, f"at most {'366d' if unit == 'seconds' else f'{most:,}'}")
        low_ok = (member.ge is None or value >= member.ge) and (member.gt is None or value > member.gt)
        if low_ok and (member.le is None or value <= member.le) and (member.lt is None or value < member.lt):
            return value
        return self._bad(kind, written, path, "it may not be negative" if unit else "")

    def _struct(self, kind: ty.Type, members: list[ty.StructType], value: Any, path: Path) -> Any:
        tag_field = members[0].tag_field
        by_tag = names_of(members)
        if tag_field and isinstance(value, str):
            value = {tag_field: value}  # the short form: a bare name
        if not isinstance(value, dict):
            return self._bad(kind, value, path)
        struct = members[0]
        if tag_field:
            tag = value.get(tag_field)
            if tag_field not in value or not isinstance(tag, str) or tag not in by_tag:
                return self._unknown_tag(by_tag, value, tag_field, path)
            struct = by_tag[tag]
        return self._fields(struct, value, path)

    def _unknown_tag(self, by_tag: dict[str, ty.StructType], value: dict[str, Any], tag_field: str, path: Path) -> Any:
        names = "one of " + ", ".join(by_tag)
        if tag_field not in value:
            self._mistakes.say((*path, tag_field), f"missing, expected {names}")
        else:
            tag = value[tag_field]
            at = (*path, tag_field) if (*path, tag_field) in self._mistakes.places else path
            self._mistakes.wrong(at, tag, names, did_you_mean(str(tag), by_tag))
        self._mistakes.broken(path)
        return _BAD

    def _fields(self, struct: ty.StructType, value: dict[str, Any], path: Path) -> dict[str, Any]:
        fields = {field.encode_name: field for field in struct.fields}
        read: dict[str, Any] = {}
        if struct.tag_field:
            read[struct.tag_field] = struct.tag
        for name, item in value.items():
            if name == struct.tag_field:
                continue
            if name not in fields:
                self._unknown_field(name, struct, fields, path)
                continue
            forgotten = item is None and self._forgotten(fields[name], (*path, name))
            got = _BAD if forgotten else self._read(fields[name].type, item, (*path, name))
            if got is not _BAD:
                read[name] = got
        for name, field in fields.items():
            if field.required and name not in read:
                self._missing(name, field, value, path)
                read[name] = filler(field.type)
        return read

    def _forgotten(self, field: ty.Field, path: Path) -> bool:
        """Nothing where null is a value that says something, such as no limit: the number may have been forgotten. A
        block whose lines are all commented out is left out, where that is the same."""
        if path not in self._mistakes.empty or not nullable(field.type):
            return False
        if field.default is None and any(isinstance(one, ty.StructType | ty.DictType) for one in options(field.type)):
            return False
        self._mistakes.say(path, "nothing stands here; write a value, or null for none")
        self._mistakes.broken(path)
        return True

    def _missing(self, name: str, field: ty.Field, value: dict[str, Any], path: Path) -> None:
        if name not in value:
            self._mistakes.say((*path, name), f"missing, expected {bare(field.type)[2] or expected(field.type)}")
            self._mistakes.broken((*path, name))

    def _unknown_field(self, name: str, struct: ty.StructType, fields: dict[str, ty.Field], path: Path) -> None:
        homes = list(dict.fromkeys(home for home in self._homes.get(name, []) if home))
        hint = did_you_mean(name, fields)
        if not hint and homes:
            hint = f"`{name}` belongs in {' or '.join(homes[:3])}"
        if not hint:
            hint = f"its fields are {', '.join(fields)}" if fields else "it takes no settings"
        self._mistakes.say((*path, name), "there is no such field here", hint)
        self._mistakes.broken((*path, name))

    def _bad(self, kind: ty.Type, value: Any, path: Path, hint: str = "") -> Any:
        self._mistakes.wrong(path, value, expected(kind), hint or _slip(kind, value))
        self._mistakes.broken(path)
        return _BAD

    def _from_text(self, kind: ty.Type, text: str) -> Any:
        """What a variable's text means where something else than a text is expected: it is read as YAML."""
        members = options(kind)
        if nullable(kind) and text in ("null", "~"):
            return None
        if any(isinstance(member, ty.StrType) for member in members) or bare(kind)[1]:
            return text
        words = [word for member in members if isinstance(member, ty.LiteralType) for word in member.values]
        if text in words or (words and all(isinstance(member, ty.LiteralType) for member in members)):
            return text
        try:
            return parse(text).tree
        except NotYaml:
            return text


def _fits(kind: ty.Type, value: Any, unit: str | None) -> bool:
    match kind:
        case ty.StrType() | ty.LiteralType():
            return isinstance(value, str)
        case ty.BoolType():
            return isinstance(value, bool)
        case ty.IntType() | ty.FloatType():
            kinds = (int,) if isinstance(kind, ty.IntType) else (int, float)
            return (isinstance(value, kinds) and not isinstance(value, bool)) or (bool(unit) and isinstance(value, str))
        case ty.VarTupleType() | ty.ListType() | ty.TupleType():
            return isinstance(value, list)
        case ty.DictType():
            return isinstance(value, dict)
    return False


def _slip(kind: ty.Type, value: Any) -> str:
    """A word on slips that everybody makes once."""
    kinds = options(kind)
    if isinstance(value, int | float) and any(isinstance(kind, ty.StrType) for kind in kinds):
        return "write it in quotes"
    if isinstance(value, str):
        if any(isinstance(kind, ty.BoolType) for kind in kinds) and value.lower() in ("yes", "on", "no", "off"):
            return f"write {'true' if value.lower() in ('yes', 'on') else 'false'}"
        if any(isinstance(kind, ty.VarTupleType | ty.ListType) for kind in kinds):
            return "write it as [one, two], or each on a line of its own after `- `"
        if any(isinstance(kind, ty.IntType | ty.FloatType) for kind in kinds) and value.isdigit():
            return "write it without quotes"
    return ""


def filler(kind: ty.Type) -> Any:
    """A value that converts, in place of one that is missing or wrong; its path is broken, so nobody judges it."""
    if nullable(kind):
        return None
    member = options(kind)[0]
    match member:
        case ty.StructType():
            tag = {member.tag_field: member.tag} if member.tag_field else {}
            return tag | {field.encode_name: filler(field.type) for field in member.fields if field.required}
        case ty.StrType():
            return "?" * (member.min_length or 0)
        case ty.BoolType():
            return False
        case ty.LiteralType():
            return member.values[0]
        case ty.IntType() | ty.FloatType():
            return member.ge if member.ge is not None else (member.gt or 0) + 1
        case ty.TupleType():
            return [filler(item) for item in member.item_types]
        case ty.DictType():
            return {}
    return []


def _homes_of(root: ty.Type) -> dict[str, list[str]]:
    """Field name -> where in the file it belongs, so that a field in the wrong block can be sent home."""
    homes: dict[str, list[str]] = {}

    visits: dict[type, int] = {}

    def visit(kind: ty.Type, at: str) -> None:
        for member in options(kind):
            match member:
                case ty.StructType() if visits.get(member.cls, 0) < MOST_HOMES:
                    visits[member.cls] = visits.get(member.cls, 0) + 1
                    for field in member.fields:
                        homes.setdefault(field.encode_name, []).append(at or "the top level")
                        visit(field.type, f"{at}.{field.encode_name}" if at else field.encode_name)
                case ty.VarTupleType() | ty.ListType():
                    visit(member.item_type, f"{at}[]")

    visit(root, "")
    return homes
