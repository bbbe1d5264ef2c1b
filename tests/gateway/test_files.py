"""Open files: as many as the system lets a process have, and a word where that may not be enough."""

import resource

import pytest

from penstock.gateway.files import raise_open_files


def test_as_many_as_may_be(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The soft limit becomes the hard one; where connections alone may use them up, that is said."""
    limits = [(256, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    raise_open_files(1000)
    assert limits[-1] == (4096, 4096)
    assert caplog.text == ""
    raise_open_files(20_000)
    assert len(limits) == 2
    assert "4096 open files, and 20000 connections may come" in caplog.text
