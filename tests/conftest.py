"""What holds for every test: settings that make runs alike, and a note of tests that are slow without saying so."""

import os

import pytest
from hypothesis import HealthCheck, settings

SLOW_S = 0.25

# The same examples in every run, so that a red run can be repeated; no clock, because machines differ.
settings.register_profile(
    "penstock", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("penstock")

# Settings of the person who runs the tests must not reach the configurations under test.
_OF_TESTS = ("PENSTOCK_REAL_ENGINES", "PENSTOCK_LLAMA_SERVER", "PENSTOCK_DATA")
for _name in [name for name in os.environ if name.startswith("PENSTOCK_") and name not in _OF_TESTS]:
    del os.environ[_name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that took long and are not marked slow: information, because a busy machine is no defect."""
    late = [
        report
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and report.duration > SLOW_S and "slow" not in report.keywords
    ]
    if late:
        terminalreporter.section(f"over {SLOW_S} s without the marker `slow`")
        for report in sorted(late, key=lambda report: -report.duration):
            terminalreporter.line(f"{report.duration:6.2f} s  {report.nodeid}")
