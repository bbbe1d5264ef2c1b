"""What the pods of a Deployment say: which replica each is, where it serves, whether it ends. Pure.

A replica's name, and that it was told to end, stand on its pod as annotations: so the next gateway finds them there.
"""

from typing import Any

from penstock.base.nouns import Unit, UnitState

Json = dict[str, Any]

UNIT = "penstock/unit"
"""Annotation: the replica's name. A pod without it, that nobody ordered, is called by its own name."""
STOPPING = "penstock/stopping"
"""Annotation: it was told to end."""
COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation: pods with less go first, among those that are as ready
(https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost)."""
DRAINS_COST = "-1000000"
ENDS_COST = "-2147483647"
STUCK = frozenset({
    "CrashLoopBackOff", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError", "ErrImageNeverPull",
})  # fmt: skip
"""Why a container waits that will not come up by itself soon."""
MOST_TOLD = 200


def name(pod: Json) -> str:
    """Its own name."""
    return str(pod["metadata"]["name"])


def notes(pod: Json) -> dict[str, str]:
    """Its annotations."""
    return pod["metadata"].get("annotations") or {}


def born(pod: Json) -> tuple[str, str]:
    """What orders pods by age."""
    return str(pod["metadata"].get("creationTimestamp", "")), name(pod)


def ends(pod: Json) -> bool:
    """Whether it is being deleted."""
    return pod["metadata"].get("deletionTimestamp") is not None


def over(pod: Json) -> bool:
    """Whether it has ended for good: its Deployment has put another in its place."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def counts(pod: Json) -> bool:
    """Whether its Deployment counts it among its replicas."""
    return not ends(pod) and not over(pod)


def ready(pod: Json) -> bool:
    """Whether Kubernetes calls it ready."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(it.get("type") == "Ready" and it.get("status") == "True" for it in conditions)


def address(pod: Json) -> str:
    """Its IP address, as it stands in a URL; empty: it has none yet."""
    ip = str((pod.get("status") or {}).get("podIP") or "")
    return f"[{ip}]" if ":" in ip else ip


def trouble(pod: Json) -> str:
    """Why it will not serve; empty: nothing says so."""
    status = pod.get("status") or {}
    if over(pod):
        told = [status.get("reason"), status.get("message")]
        return f"its pod has {str(status.get('phase')).lower()}" + _more(told)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK:
            last = (container.get("lastState") or {}).get("terminated") or {}
            code = f"it ended with status {last['exitCode']}" if "exitCode" in last else None
            return f"its container waits: {waiting['reason']}" + _more([waiting.get("message"), code])
    return ""


def _more(told: list[Any]) -> str:
    text = ", ".join(str(it) for it in told if it)
    return f" ({text[:MOST_TOLD]})" if text else ""


def shown(pod: Json, unit: str, stopping: bool, serves: bool, url: str) -> Unit:
    """The replica that this pod is. `serves`: it has begun, as far as its actuator asks for."""
    state: UnitState
    detail = trouble(pod)
    if stopping or ends(pod):
        state, detail = "stopping", ""
    elif detail:
        state = "ended"
    else:
        state = "running" if serves else "starting"
    return Unit(id=unit, state=state, url="" if state == "starting" else url, detail=detail)
