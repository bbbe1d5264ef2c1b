"""Shape: files say what they are for, nothing is too long, logic has its test twin, and every test says its claim.

The numbers are guides that hold until somebody has a reason; the reasons stand in RATCHET, and only ever shrink.
"""

import ast
import statistics
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tests.tidy.sources import Finding, Source, functions

FILE_LINES = 400
FUNCTION_LINES = 50
MEDIAN_FUNCTION_LINES = 10

RATCHET: dict[str, tuple[int, str]] = {}
"""File, or file::function -> (lines it may have at most, why). A new entry needs a reason; numbers only go down."""

OWN_FOLDERS = ("agreement", "properties", "scenarios", "contracts", "e2e", "docs", "tidy", "support", "typing", "bench")
"""Folders of tests that are about more than one file, so that their files are nobody's twin."""

NO_TWIN: dict[str, str] = {
    "src/penstock/adapters/stores/migrations/versions/v0001_ledger.py": "adapters/stores/test_database.py migrates",
    "src/penstock/adapters/stores/migrations/versions/v0002_users.py": "contracts/test_ledgers.py migrates rows",
    "src/penstock/adapters/stores/migrations/versions/v0003_histories.py": "adapters/stores/test_database.py migrates",
}
"""Source file with logic -> why no test file of its own is right (what tests it instead)."""


def check_docstrings(files: Iterable[Source]) -> Iterator[Finding]:
    """Files that do not open with what they are for, and tests that do not say what they claim."""
    for source in files:
        if source.tree.body and not ast.get_docstring(source.tree):
            yield Finding(source.path, 1, "opens without a docstring: say what this room is for and what it may know")
        if source.path.startswith("tests/"):
            for function in functions(source):
                if function.name.startswith("test_") and not ast.get_docstring(function):
                    yield Finding(source.path, function.lineno, f"{function.name} has no docstring: say its claim")


def check_sizes(files: Iterable[Source], ratchet: dict[str, tuple[int, str]] = RATCHET) -> Iterator[Finding]:
    """Files and functions that are too long."""
    seen: dict[str, int] = {}
    for source in files:
        seen[source.path] = lines = source.text.count("\n")
        if lines > ratchet.get(source.path, (FILE_LINES, ""))[0]:
            yield Finding(source.path, 1, f"{lines} lines, over {FILE_LINES}: is it still one idea? Split it by ideas")
        for function in functions(source):
            key = f"{source.path}::{function.name}"
            seen[key] = lines = max(seen.get(key, 0), length(function))
            if lines > ratchet.get(key, (FUNCTION_LINES, ""))[0]:
                yield Finding(
                    source.path,
                    function.lineno,
                    f"{function.name} has {lines} lines, over {FUNCTION_LINES}: name its steps, and call them",
                )
    for key, (limit, _) in ratchet.items():
        usual = FUNCTION_LINES if "::" in key else FILE_LINES
        now = seen.get(key, 0)
        if now < limit:
            what = "take it out" if now <= usual else f"lower it to {now}"
            yield Finding("tests/tidy/shape.py", 1, f"RATCHET[{key!r}] allows {limit}, it has {now}: {what}")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, from `def` to its end."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def check_median(files: Iterable[Source]) -> Iterator[Finding]:
    """Whether the median function of all these files together is short."""
    lengths = [length(function) for source in files for function in functions(source)]
    if lengths and statistics.median(lengths) >= MEDIAN_FUNCTION_LINES:
        what = f"the median function has {statistics.median(lengths):g} lines, not under {MEDIAN_FUNCTION_LINES}"
        yield Finding("src", 1, what)


def check_twins(
    code: Iterable[Source], tests: Iterable[Source], no_twin: dict[str, str] = NO_TWIN
) -> Iterator[Finding]:
    """Files with logic but without a test of their own, and test files whose source is gone."""
    paths = {source.path: source for source in code}
    tested = {source.path for source in tests}
    for path, source in paths.items():
        if has_logic(source) and twin(path) not in tested and path not in no_twin:
            yield Finding(path, 1, f"has no test of its own: write {twin(path)}, or say why not in NO_TWIN")
        if path in no_twin and twin(path) in tested:
            yield Finding(path, 1, "has a test of its own now: take it out of NO_TWIN")
    stems = {twin(path).removesuffix(".py") for path in paths}
    for path in sorted(tested):
        parts = PurePosixPath(path).parts
        is_test = parts[-1].startswith("test_") and parts[1] not in OWN_FOLDERS
        if is_test and not _names_source(path, stems):
            yield Finding(path, 1, "is the twin of no source file: name it test_SOURCE.py or test_SOURCE_aspect.py")


def _names_source(path: str, stems: set[str]) -> bool:
    """Whether a test file is a source's twin, or one aspect of it: test_queue.py, test_queue_bounds.py."""
    stem = path.removesuffix(".py")
    return any(stem == known or stem.startswith(f"{known}_") for known in stems)


def twin(path: str) -> str:
    """src/penstock/core/queue.py -> tests/core/test_queue.py."""
    pure = PurePosixPath(path.removeprefix("src/penstock/"))
    return str(PurePosixPath("tests") / pure.parent / f"test_{pure.name}")


def has_logic(source: Source) -> bool:
    """Whether there is a function with a body: not only words, specs and protocols."""
    if source.path.endswith(("__init__.py", "__main__.py")):
        return False
    return any(_does_something(function) for function in functions(source))


def _does_something(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if function.name == "__repr__":
        return False
    for step in function.body:
        is_words = isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)
        is_one_call = isinstance(step, ast.Return) and isinstance(step.value, ast.Call) and len(function.body) == 1
        if not (is_words or is_one_call or isinstance(step, ast.Pass)):
            return True
    return False
