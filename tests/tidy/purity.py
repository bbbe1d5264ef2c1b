"""The pure zone: what may not be said in base, core, engine and workload, and what to say instead.

A machine is told the time, draws from its own random streams, and never waits; so it runs the same live, in a test
and in the simulator. One careless line would break that without failing any other test.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from tests.tidy.sources import Finding, Source

PURE = frozenset({"base", "core", "engine", "workload", "plan", "manifests", "sim"})

_EDGE = "only pumps and edges (drive, adapters, gateway, emulator, loadgen) may"
MODULES: dict[str, str] = {
    "asyncio": f"a machine never waits; {_EDGE}: answer with an order and take the outcome as a fact",
    "uvloop": f"a machine never waits; {_EDGE}",
    "concurrent": f"a machine is turned by one pump; {_EDGE}",
    "threading": "a machine is turned by one pump, so it needs no lock: keep plain state",
    "multiprocessing": "a machine is turned by one pump: share through facts and orders",
    "time": "time is an argument: take `now` (seconds, the last parameter)",
    "os": "the world outside is told by facts and configured by specs: take what you need as an argument",
    "socket": f"no I/O; {_EDGE}: answer with an order",
    "select": f"no I/O; {_EDGE}",
    "subprocess": f"no I/O; {_EDGE}",
    "signal": f"no I/O; {_EDGE}",
    "logging": "the journal records every fact and order: what people should read is an order or a field of one",
    "secrets": "hidden randomness: take a stream from penstock.base.rand.Rand",
    "uuid": "hidden randomness and time: ids come with the facts, or from a counter",
}
"""Top-level module -> why not, and the replacement."""

_STREAM = "take a stream from penstock.base.rand.Rand, as an argument"
CALLS: dict[str, str] = {
    "datetime.now": "time is an argument: take `now`",
    "datetime.utcnow": "time is an argument: take `now`",
    "datetime.today": "time is an argument: take `now`",
    "date.today": "time is an argument: take `now`",
    "random.Random": f"seeds are given in one place: {_STREAM}",
    "hash": "it differs from process to process for text: use hashlib.blake2b, or the key itself",
    "id": "an address differs from run to run: use the noun's own id",
    "open": "no I/O: take bytes or lines as an argument",
    "print": "no I/O: return it",
    "input": "no I/O: take it as an argument",
}
"""Call, as it is written -> why not, and the replacement."""

_RANDOM_ONLY = "versions of Python may draw it otherwise: make it from `random()`, as workload.draws does"
DRAWS: dict[str, str] = dict.fromkeys(
    (
        "betavariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "lognormvariate",
        "normalvariate", "paretovariate", "randint", "randrange", "sample", "shuffle", "triangular",
        "vonmisesvariate", "weibullvariate",
    ),
    _RANDOM_ONLY,
)  # fmt: skip
"""Method of `random.Random` -> why not. The generator's raw bits (`getrandbits`, `randbytes`) are no
distribution, and `uniform` is a popular name for `random` itself."""

ALLOWED: dict[tuple[str, str], str] = {
    ("src/penstock/base/rand.py", "random.Random"): "the one place where streams are made",
}
"""(file, call) -> why it is right there."""

LIBRARIES = frozenset({"msgspec", "numpy", "scipy", "xxhash"})
"""Third-party packages that are pure themselves. (numpy and scipy: only plan, engine fit, reports and the
semantic cache's vectors, imported by who has them; xxhash: hashes of bytes.)"""

_ORDER = "a set's order differs from run to run: iterate sorted(...), or keep a dict (it remembers the order)"
_CONSUMERS = frozenset({"list", "tuple", "iter", "enumerate", "map", "filter", "zip", "reversed", "sum", "dict"})
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


def check_purity(files: Iterable[Source]) -> Iterator[Finding]:
    """Everything banned that is said in the pure zone."""
    for source in files:
        if source.package in PURE:
            yield from _imports(source)
            yield from _words(source)
            yield from _sets(source)


def _imports(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "random":
                for alias in node.names:
                    if alias.name != "Random":
                        yield Finding(source.path, node.lineno, f"`random.{alias.name}` in the pure zone: {_STREAM}")
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            if top in MODULES:
                yield Finding(source.path, node.lineno, f"`{top}` in the pure zone: {MODULES[top]}")
            elif top not in sys.stdlib_module_names and top not in LIBRARIES and top != "penstock":
                yield Finding(
                    source.path, node.lineno, f"`{top}` in the pure zone: only {', '.join(sorted(LIBRARIES))}"
                )


def _words(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield Finding(source.path, node.lineno, f"`async` in the pure zone: {MODULES['asyncio']}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random":
                yield Finding(source.path, node.lineno, f"`random.{node.attr}` in the pure zone: {_STREAM}")
        if isinstance(node, ast.Attribute) and node.attr in DRAWS and _is_stream(node.value):
            yield Finding(source.path, node.lineno, f"`{node.attr}` in the pure zone: {DRAWS[node.attr]}")
        if isinstance(node, ast.Call):
            said = ".".join(ast.unparse(node.func).split(".")[-2:])
            if said in CALLS and (source.path, said) not in ALLOWED:
                yield Finding(source.path, node.lineno, f"`{said}()` in the pure zone: {CALLS[said]}")


def _is_stream(node: ast.expr) -> bool:
    """Whether it is called as streams are: `rng`, `self._rng`, `stream`, `rand.stream(…)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "stream"
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_") in ("rng", "stream", "luck", "random")


def _sets(source: Source) -> Iterator[Finding]:
    """Iteration over a set: written in place, or a name or attribute that is annotated or assigned as one."""
    for scope in _scopes(source.tree):
        known = _set_names(scope)
        for node in _within(scope):
            for line, expression in _iterated(node):
                if _is_set(expression, known):
                    yield Finding(source.path, line, f"iterates the set `{ast.unparse(expression)}`: {_ORDER}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "pop":
                if not node.args and _is_set(node.func.value, known):
                    yield Finding(
                        source.path, node.lineno, f"pops from the set `{ast.unparse(node.func.value)}`: {_ORDER}"
                    )


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """The module, each class with all its methods (they share self), and each function outside a class."""
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope; of a class all methods, of the module only what stands outside of both."""
    todo = list(ast.iter_child_nodes(scope))
    while todo:
        node = todo.pop()
        yield node
        if not (isinstance(scope, ast.Module) and isinstance(node, ast.ClassDef | ast.FunctionDef)):
            todo += ast.iter_child_nodes(node)


def _set_names(scope: ast.AST) -> frozenset[str]:
    """Names and `self.…` attributes of this scope that hold sets, by annotation or by what is assigned to them."""
    names: set[str] = set()
    for node in _within(scope):
        if isinstance(node, ast.AnnAssign) and _says_set(node.annotation):
            names.add(ast.unparse(node.target))
            if isinstance(scope, ast.ClassDef) and isinstance(node.target, ast.Name):
                names.add(f"self.{node.target.id}")
        elif isinstance(node, ast.arg) and node.annotation is not None and _says_set(node.annotation):
            if not isinstance(scope, ast.ClassDef):
                names.add(node.arg)
        elif isinstance(node, ast.Assign) and _is_set(node.value, frozenset()):
            targets = [ast.unparse(target) for target in node.targets]
            names.update(t for t in targets if t.startswith("self.") or not isinstance(scope, ast.ClassDef))
    return frozenset(names)


def _says_set(annotation: ast.expr) -> bool:
    head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return ast.unparse(head).split(".")[-1] in ("set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet")


def _iterated(node: ast.AST) -> Iterator[tuple[int, ast.expr]]:
    if isinstance(node, ast.For):
        yield node.lineno, node.iter
    elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
        for part in node.generators:
            yield node.lineno, part.iter
    elif isinstance(node, ast.Starred):
        yield node.lineno, node.value
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _CONSUMERS | {"join", "extend", "fromkeys"}:
            for argument in node.args:
                yield node.lineno, argument


def _is_set(node: ast.expr, known: frozenset[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left, known) or _is_set(node.right, known)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset"):
            return True
        return isinstance(node.func, ast.Attribute) and node.func.attr in _SET_METHODS
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in known
