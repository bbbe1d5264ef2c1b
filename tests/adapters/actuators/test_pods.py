"""What pods say, in the words of the API's own examples."""

from typing import Any

import pytest

from penstock.adapters.actuators import pods
from penstock.base.nouns import Unit


def pod(status: dict[str, Any] | None = None, notes: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    """A pod."""
    return {"metadata": {"name": "llama-1", "annotations": notes, **meta}, "status": status}


def waiting(reason: str, **more: Any) -> dict[str, Any]:
    """A status whose container waits."""
    state = {"waiting": {"reason": reason, **more}}
    return {"phase": "Running", "containerStatuses": [{"name": "vllm", "state": state}]}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, ""),
        ({"phase": "Running"}, ""),
        (waiting("ContainerCreating"), ""),
        (
            waiting("ImagePullBackOff", message="no such image"),
            "its container waits: ImagePullBackOff (no such image)",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 137}},
                    }
                ]
            },
            "its container waits: CrashLoopBackOff (it ended with status 137)",
        ),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on disk"},
            "its pod has failed (Evicted, low on disk)",
        ),
        ({"phase": "Succeeded"}, "its pod has succeeded"),
    ],
)
def test_trouble(status: dict[str, Any] | None, said: str) -> None:
    """Only what will not come up by itself is trouble."""
    assert pods.trouble(pod(status)) == said


def test_who_counts() -> None:
    """Who ends or has ended is none of the Deployment's replicas any more."""
    assert pods.counts(pod({"phase": "Pending"}))
    assert not pods.counts(pod({"phase": "Failed"}))
    assert not pods.counts(pod({"phase": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z"))


def test_where_it_serves() -> None:
    """Addresses as they stand in a URL; ready as Kubernetes says."""
    assert pods.address(pod({"podIP": "fd00::1"})) == "[fd00::1]"
    assert pods.address(pod({"podIP": "10.0.0.1"})) == "10.0.0.1"
    assert pods.address(pod()) == ""
    assert pods.ready(pod({"conditions": [{"type": "Ready", "status": "True"}]}))
    assert not pods.ready(pod({"conditions": [{"type": "Ready", "status": "False"}]}))
    assert not pods.ready(pod())


def test_what_is_shown() -> None:
    """Starting without an address, running with one, ended with a reason; and stopping comes before all of these."""
    url = "http://10.0.0.1:8000"
    assert pods.shown(pod(), "p-1", False, False, url) == Unit(id="p-1", state="starting")
    assert pods.shown(pod(), "p-1", False, True, url) == Unit(id="p-1", state="running", url=url)
    stuck = pod(waiting("CrashLoopBackOff"))
    assert pods.shown(stuck, "p-1", False, True, url).state == "ended"
    assert pods.shown(stuck, "p-1", True, True, url) == Unit(id="p-1", state="stopping", url=url)
    leaving = pod(deletionTimestamp="2026-01-01T00:00:00Z")
    assert pods.shown(leaving, "p-1", False, True, url).state == "stopping"
