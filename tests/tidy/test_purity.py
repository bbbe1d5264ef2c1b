"""The pure zone is pure: no clock, no hidden randomness, no I/O, no accidental order."""

import pytest

from tests.tidy.purity import ALLOWED, PURE, check_purity
from tests.tidy.sources import Source, assert_tidy, report, sources


def said(text: str, path: str = "src/penstock/core/part.py") -> str:
    """What the check says of one file."""
    return report(check_purity([Source(path, text)]))


def test_pure_zone() -> None:
    """Nothing banned is said in base, core, engine and workload."""
    assert_tidy(check_purity(sources("src")))


@pytest.mark.parametrize(
    ("text", "replacement"),
    [
        ("import asyncio", "answer with an order"),
        ("from asyncio import Queue", "answer with an order"),
        ("import time", "take `now`"),
        ("from time import monotonic", "take `now`"),
        ("def f():\n    import time", "take `now`"),
        ("import os.path", "as an argument"),
        ("import socket", "answer with an order"),
        ("import threading", "keep plain state"),
        ("import logging", "journal"),
        ("import uuid", "counter"),
        ("import yaml", "only msgspec"),
        ("import random\nx = random.random()", "penstock.base.rand.Rand"),
        ("import random\nf = random.choice", "penstock.base.rand.Rand"),
        ("from random import shuffle", "penstock.base.rand.Rand"),
        ("import random\nr = random.Random(1)", "penstock.base.rand.Rand"),
        ("from datetime import datetime\nx = datetime.now()", "take `now`"),
        ("import datetime\nx = datetime.datetime.now()", "take `now`"),
        ("import datetime\nx = datetime.date.today()", "take `now`"),
        ("async def f(): pass", "answer with an order"),
        ("x = hash('a')", "hashlib"),
        ("x = id(object())", "own id"),
        ("x = open('a')", "as an argument"),
        ("print('a')", "return it"),
        ("def f(rng):\n    return rng.choice('ab')", "workload.draws"),
        ("class A:\n    def f(self):\n        draw = self._rng.expovariate", "workload.draws"),
        ("x = rand.stream('gaps').shuffle([1])", "workload.draws"),
    ],
)
def test_ban_is_found(text: str, replacement: str) -> None:
    """Each banned word is found, and the message tells file, line, and what to write instead."""
    line = text.count("\n") + 1
    assert said(text).startswith(f"src/penstock/core/part.py:{line}: "), said(text)
    assert replacement in said(text)


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "x = list({1, 2})",
        "x = [y for y in frozenset(z)]",
        "x = {y: 1 for y in {a for a in b}}",
        "x = ','.join({'a', 'b'})",
        "x = [*{1, 2}]",
        "x = next(iter(set(y)))",
        "x = sum({0.1, 0.2})",
        "for x in a | {1}: pass",
        "for x in a.difference(b): pass",
        "def f(a: set[int]) -> None:\n    for x in a: pass",
        "def f() -> None:\n    a: set[int] = g()\n    for x in a: pass",
        "def f() -> None:\n    a = set()\n    return list(a)",
        "class A:\n    def __init__(self):\n        self.b = set()\n    def f(self):\n        for x in self.b: pass",
        "class A:\n    b: set[int]\n    def f(self):\n        return [x for x in self.b]",
        "class A:\n    def __init__(self):\n        self.b: set[int] = c\n    def f(self):\n        self.b.pop()",
    ],
)
def test_set_order_is_found(text: str) -> None:
    """Iterating a set is found, written in place or through a name that holds one."""
    assert "sorted(...)" in said(text), text


@pytest.mark.parametrize(
    "text",
    [
        "x = 3 in {1, 2}",
        "for x in sorted({2, 1}): pass",
        "x = len(set(y))",
        "x = any(a in b for a in c)",
        "b = {x for x in [1]}",
        "def f(now: float, random: Random) -> float:\n    return now",
        "from random import Random\ndef f(stream: Random) -> float:\n    return stream.random()",
        "for x in {1: 2}: pass",
        "def f() -> None:\n    a = set()\ndef g(a: list[int]) -> list[int]:\n    return [x for x in a]",
        "x = [1].pop()",
        "import hashlib, heapq, math",
    ],
)
def test_pure_code_is_fine(text: str) -> None:
    """Membership, sorting, arithmetic and streams that were handed over are not disturbed."""
    assert said(text) == ""


def test_edges_are_free() -> None:
    """Outside of the pure zone all this is allowed."""
    assert said("import asyncio, time, os\nfor x in {1, 2}: pass", "src/penstock/gateway/server.py") == ""


def test_exceptions_are_used() -> None:
    """Every exception to the bans still has its file and its call."""
    for path, call in ALLOWED:
        (source,) = (s for s in sources("src") if s.path == path)
        assert f"{call}(" in source.text
        assert source.package in PURE
