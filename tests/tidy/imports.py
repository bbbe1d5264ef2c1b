"""Floors and cycles: who may import whom. Reads every import: at the top, in a function, and for types only.

The table of floors is the architecture in one place (docs/architecture.md tells why it is so).
"""

import ast
from collections.abc import Iterable, Iterator

from tests.tidy.sources import Finding, Source

FLOORS: dict[str, int] = {
    "base": 0,
    "core": 1,
    "engine": 1,
    "workload": 1,
    "drive": 2,
    "plan": 2,
    "adapters": 3,
    "manifests": 3,
    "telemetry": 3,
    "cache": 3,
    "config": 4,
    "gateway": 5,
    "emulator": 5,
    "loadgen": 5,
    "sim": 5,
    "picker": 5,
    "cli": 6,
}
"""Room -> floor. A room imports only rooms on lower floors, and itself."""

ROOT_PACKAGE = "penstock"


def imported(source: Source, modules: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Every module of ours that a file imports, with the line: `from package import module` counts as the module."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _ours(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield from _ours(deeper if deeper in modules else node.module, node.lineno)
        elif isinstance(node, ast.Call) and _is_import_call(node) and isinstance(node.args[0], ast.Constant):
            yield from _ours(str(node.args[0].value), node.lineno)


def _ours(name: str, line: int) -> Iterator[tuple[str, int]]:
    if name.split(".")[0] == ROOT_PACKAGE:
        yield name, line


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("import_module", "__import__") and bool(node.args)


def check_floors(files: Iterable[Source]) -> Iterator[Finding]:
    """Imports that go up or across."""
    files = list(files)
    modules = frozenset(source.module for source in files)
    for source in files:
        here = _room(source.module)
        if here and here not in FLOORS:
            yield Finding(
                source.path, 1, f"room `{here}` has no floor: decide its floor and add it to {__name__}.FLOORS"
            )
            continue
        for name, line in imported(source, modules):
            there = _room(name)
            if there == here or not there:
                continue
            if not here or FLOORS.get(there, 99) >= FLOORS[here]:
                yield Finding(source.path, line, _why(here, there))


def _room(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return ""
    return "cli" if parts[1] == "__main__" else parts[1]


def _why(here: str, there: str) -> str:
    if not here:
        return f"the root package imports `{there}`: it imports nothing, because everybody imports it"
    if there not in FLOORS:
        return f"`{here}` imports the room `{there}`, which has no floor: add it to {__name__}.FLOORS"
    if FLOORS[there] == FLOORS[here]:
        return (
            f"`{here}` imports `{there}` on its own floor ({FLOORS[here]}), where none knows another: "
            "move what both need to a lower floor, or let a higher floor hand it over"
        )
    return (
        f"`{here}` (floor {FLOORS[here]}) imports `{there}` (floor {FLOORS[there]}), which is above it: "
        "move the noun down, or take it as an argument that the higher floor passes in"
    )


def check_cycles(files: Iterable[Source]) -> Iterator[Finding]:
    """Modules that import each other, directly or around corners."""
    by_name = {source.module: source for source in files}
    modules = frozenset(by_name)
    graph = {
        name: {target for target, _ in imported(source, modules) if target in modules and target != name}
        for name, source in by_name.items()
    }
    for knot in knots(graph):
        names = " -> ".join([*knot, knot[0]])
        yield Finding(
            by_name[knot[0]].path, 1, f"import cycle {names}: move what they share to a module that knows neither"
        )


def knots(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected groups of more than one node (Tarjan's algorithm, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in sorted(graph):
        if start in index:
            continue
        index[start] = low[start] = len(index)
        stack.append(start)
        work = [(start, iter(sorted(graph[start])))]
        while work:
            node, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = stack[stack.index(node) :]
                    del stack[stack.index(node) :]
                    if len(group) > 1:
                        found.append(sorted(group))
            elif target not in index:
                index[target] = low[target] = len(index)
                stack.append(target)
                work.append((target, iter(sorted(graph[target]))))
            elif target in stack:
                low[node] = min(low[node], index[target])
    return found


STARTS: dict[str, str] = {
    "penstock.adapters.stores.migrations.env": "Alembic runs it",
    "penstock.adapters.stores.migrations.versions.v0001_ledger": "Alembic runs it, by its number",
    "penstock.adapters.stores.migrations.versions.v0002_users": "Alembic runs it, by its number",
    "penstock.adapters.stores.migrations.versions.v0003_histories": "Alembic runs it, by its number",
    "penstock.drive.virtual_loop": "only tests run the live body on virtual time",
    "penstock.gateway.processes.worker": "the parent runs it as a process, by its name",
    "penstock.engine.kernels": "who has a profile of kernels makes a cost model of it; agreement tests prove it",
}
"""Module that nothing in the package imports -> why it is alive all the same."""


def check_orphans(files: Iterable[Source], starts: dict[str, str] = STARTS) -> Iterator[Finding]:
    """Modules that nothing else in the package imports: dead code, unless something starts from them."""
    files = list(files)
    modules = frozenset(source.module for source in files)
    used = {name for source in files for name, _ in imported(source, modules) if name != source.module}
    for source in files:
        is_start = source.path.endswith(("__init__.py", "__main__.py")) or source.package == "cli"
        if not is_start and source.module not in used and source.module not in starts:
            yield Finding(source.path, 1, "no other module imports it: connect it, delete it, or say why in STARTS")
    for name in starts:
        if name in used:
            yield Finding("tests/tidy/imports.py", 1, f"{name} is imported now: take it out of STARTS")
