"""What end-to-end tests share: emulated engines for the whole run, and gateways that must hold nothing at their end."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import SLOW, at_rest
from tests.helpers.wire import run

Start = Callable[..., Gateway]
MANY = 10_000
"""Connections of a crowd."""


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """URLs of four emulated engines of the model tiny: three quick ones and a slow one."""
    emulators = Emulators(tmp_path_factory.mktemp("engines"), 1.0, 1.0, 1.0, SLOW)
    with ending(emulators):
        yield emulators.urls


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways. At the end of the test those that still run must be at rest, and stop with status 0."""
    started: list[Gateway] = []

    def begin(file: dict[str, Any] | str | None, *options: str) -> Gateway:
        gateway = Gateway(tmp_path, file, *options, name=f"gateway{len(started)}")
        started.append(gateway)
        return gateway

    try:
        yield begin
        for gateway in started:
            if gateway.runs():
                run(lambda gateway=gateway: at_rest(gateway))  # type: ignore[misc]
                assert gateway.stop() == 0, gateway.log()
            assert "bug while handling" not in gateway.log(), gateway.log()
            assert "Traceback" not in gateway.log(), gateway.log()
    finally:
        for gateway in started:
            gateway.stop()


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as the system allows; without enough for the crowd there is nothing to test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < MANY + 2000:
        pytest.skip(f"only {before[1]} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
