"""What every tidy check reads: the project's Python files as syntax trees, and how a finding is told.

The checks are functions from sources to findings, so that each can be shown a small bad sample: a check that cannot
fail would be worth nothing.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: str
    """From the repository's root, with slashes."""
    text: str

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parse(self.text, self.path)

    @property
    def module(self) -> str:
        """Its import name: src/penstock/core/gate.py -> penstock.core.gate."""
        parts = Path(self.path.removeprefix("src/")).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """The room it is in: penstock.core.route.presets -> core; empty for the root package."""
        parts = self.module.split(".")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True)
class Finding:
    """One thing that is not tidy: where, what, why, and what to do instead."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@cache
def _parse(text: str, path: str) -> ast.Module:
    return ast.parse(text, path)


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """All Python files under these folders of the repository."""
    files = (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))
    return tuple(Source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files)


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a file, nested ones too."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def report(findings: Iterable[Finding]) -> str:
    """All findings, one a line; empty when there are none."""
    return "\n".join(str(finding) for finding in sorted(set(findings), key=lambda f: (f.path, f.line, f.what)))


def assert_tidy(findings: Iterable[Finding]) -> None:
    """Fail with every finding in full, one a line."""
    text = report(findings)
    if text:
        pytest.fail(f"not tidy:\n{text}", pytrace=False)
