"""What the log says of health probes."""

import pytest

from penstock.core.events import Probed
from penstock.gateway.fleet.probe_log import TOLD_AFTER, ProbeLog

URL = "http://a:1"


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of what was logged."""
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_replica_that_never_answered_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The third failed probe writes a line with address and reason, later ones none; its first answer one more."""
    caplog.set_level("INFO", "penstock.gateway")
    heard = ProbeLog()
    for _ in range(TOLD_AFTER + 2):
        heard.heard(Probed("a", ok=False, detail="ConnectionRefusedError"), URL)
    heard.heard(Probed("a", ok=True), URL)
    heard.heard(Probed("a", ok=True), URL)
    assert lines(caplog) == [
        ("WARNING", "replica a (http://a:1) answered no health probe yet: ConnectionRefusedError"),
        ("INFO", "replica a answers its health probes"),
    ]


def test_a_lost_probe_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """Fewer in a row than three write nothing, however often."""
    caplog.set_level("INFO", "penstock.gateway")
    heard = ProbeLog()
    for _ in range(5):
        for _ in range(TOLD_AFTER - 1):
            heard.heard(Probed("a", ok=False, detail="status 503"), URL)
        heard.heard(Probed("a", ok=True), URL)
    assert lines(caplog) == []


@pytest.mark.parametrize("gone, words", [(False, "does not answer its health probes any more"), (True, "yet")])
def test_one_that_answered_before_is_told_apart(caplog: pytest.LogCaptureFixture, gone: bool, words: str) -> None:
    """Who answered once is said to have stopped, unless it was gone in between and is a new one."""
    heard = ProbeLog()
    heard.heard(Probed("a", ok=True), URL)
    if gone:
        heard.forget("a")
    for _ in range(TOLD_AFTER):
        heard.heard(Probed("a", ok=False, detail="status 503"), URL)
    assert words in lines(caplog)[0][1]
