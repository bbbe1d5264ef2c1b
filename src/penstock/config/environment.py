"""What the environment may say: ${NAME} inside texts, and PENSTOCK__… variables over the file.

The prefix ends in two underscores because Kubernetes gives every pod variables like PENSTOCK_PORT for a service that
is called penstock.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import inspect as ty

from penstock.config.mistakes import Mistakes, Path, Place, closest, show
from penstock.config.shape import options

PREFIX = "PENSTOCK__"
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_AFTER_FILE = 1 << 40
"""Order of mistakes: those of variables come after those of the file's lines."""


def expand(tree: Any, environment: Mapping[str, str], mistakes: Mistakes, path: Path = ()) -> Any:
    """The tree with ${NAME} and ${NAME:-default} replaced in all texts; $${ stands for a literal ${."""
    if isinstance(tree, dict):
        return {name: expand(value, environment, mistakes, (*path, name)) for name, value in tree.items()}
    if isinstance(tree, list):
        return [expand(value, environment, mistakes, (*path, at)) for at, value in enumerate(tree)]
    if not isinstance(tree, str) or "${" not in tree or mistakes.from_environment(path):
        return tree

    def replaced(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if match[0] == "$${":
            return "${"
        if name is None:
            hint = "write ${NAME} or ${NAME:-default}, and $${ for a literal ${"
            mistakes.say(path, "found a ${ that is no variable", hint)
            mistakes.broken(path)
            return ""
        value = environment.get(name)
        if default is not None:
            return value or default
        if value is None:
            mistakes.say(path, f"the environment has no {name}", f"set it, or write ${{{name}:-default}}")
            mistakes.broken(path)
        return value or ""

    text = _VARIABLE.sub(replaced, tree)
    if text != tree:
        mistakes.given[path] = tree
    return text


def override(tree: Any, environment: Mapping[str, str], root: ty.Type, mistakes: Mistakes) -> Any:
    """The tree with what PENSTOCK__… variables set: PENSTOCK__POOLS__0__STRATEGY is pools[0].strategy."""
    tree = {} if tree is None else tree
    names = sorted((name for name in environment if name.startswith(PREFIX)), key=_natural)
    for order, name in enumerate(names):
        place = Place(_AFTER_FILE + order, name)
        try:
            path = _path_of(name, root, tree)
            _put(tree, path, environment[name])
        except ValueError as error:
            mistakes.variable(place, str(error))
            continue
        mistakes.replace_place(path, place)
        mistakes.given = {at: text for at, text in mistakes.given.items() if at[: len(path)] != path} | {path: ""}
    return tree


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() and len(part) < 9 else (-1, part) for part in name.split("__")]


def _path_of(name: str, root: ty.Type, tree: Any) -> Path:
    """Where a variable points. Raises ValueError where there is nothing, with a way out."""
    path: Path = ()
    kind, here = root, tree
    steps = name[len(PREFIX) :].lower().split("__")
    for at, step in enumerate(steps):
        fields, member = _fields(kind), options(kind)[0]
        where = show(path) if path else "the file"
        if fields:
            if step not in fields:
                raise ValueError(f"{where} has no field {step!r}" + _suggest(steps, at, fields))
            kind, path = fields[step], (*path, step)
            here = here.get(step) if isinstance(here, dict) else None
        elif isinstance(member, ty.VarTupleType | ty.ListType) and step.isdecimal() and len(step) < 9:
            items = here if isinstance(here, list) else []
            if int(step) > len(items):
                raise ValueError(f"{where} has {len(items)} of them, so the next one is {len(items)}")
            here = items[int(step)] if int(step) < len(items) else None
            kind, path = member.item_type, (*path, int(step))
        else:
            whole = PREFIX + "__".join(steps[:at]).upper()
            raise ValueError(f"{where} can be set as a whole only; write {whole}='…', as YAML")
    return path


def _suggest(steps: list[str], at: int, fields: dict[str, ty.Type]) -> str:
    near = closest(steps[at], fields)
    return f"; did you mean {PREFIX}{'__'.join([*steps[:at], near, *steps[at + 1 :]]).upper()}?" if near else ""


def _fields(kind: ty.Type) -> dict[str, ty.Type]:
    """All fields that may stand in a block of this type, those of every kind for a tagged union."""
    found: dict[str, ty.Type] = {}
    for member in options(kind):
        if isinstance(member, ty.StructType):
            if member.tag_field:
                found[member.tag_field] = ty.StrType()
            found |= {field.encode_name: field.type for field in member.fields}
    return found


def _put(tree: Any, path: Path, text: str) -> None:
    """Set one value, making the blocks above it. Raises ValueError where something above it is no block."""
    here: Any = tree
    for at, step in enumerate(path):
        is_block = isinstance(here, list) if isinstance(step, int) else isinstance(here, dict)
        if not is_block:
            raise ValueError(f"cannot set {show(path)}, for {show(path[:at])} is not a block in the file")
        if isinstance(step, int) and step == len(here):
            here.append(None)
        if at == len(path) - 1:
            here[step] = text
            return
        below = here[step] if isinstance(step, int) else here.get(step)
        if below is None:
            below = [] if isinstance(path[at + 1], int) else {}
        elif isinstance(below, str) and step == "strategy":
            below = {"kind": below}  # the short form gets a setting
        here[step] = below
        here = below
