"""Scales one Kubernetes Deployment: its pods are a pool's replicas.

One more replica is one more in the Deployment's scale; the pod that then comes is given the replica's name, as an
annotation. Which pod goes when there is to be one fewer is told by pod-deletion cost. Kubernetes looks at that only
among pods that are as ready, so where it took another one the chosen one is deleted, and its Deployment fills the gap.

Refused: pods without a Deployment, which nobody would look after while the gateway is away; and a memory of our own of
what was ordered, because the scale and the pods already are that.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from penstock.adapters.actuators import pods
from penstock.adapters.actuators.pods import Json
from penstock.adapters.kubernetes.client import Cluster, Context, Kubeconfig, Namespace, Refused, Session
from penstock.base.nouns import Purchase, Unit
from penstock.base.units import Seconds

CONFLICT, NOT_FOUND = 409, 404
MOST_TRIES = 5
"""At a scale that somebody else changes at the same time."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class KubernetesSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="kubernetes", tag_field="kind"):
    """Replicas are the pods of a Deployment, whose scale the pool sets. They outlive the gateway."""

    deployment: Annotated[
        str, Meta(min_length=1, max_length=253), _doc("its name; nobody else may scale it, no HPA either")
    ]
    spot_deployment: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)] | None,
        _doc("name of another one, whose pods stand on spot nodes, for the pool's spot replicas; none: there are none"),
    ] = None
    port: Annotated[int, Meta(ge=1, le=65535), _doc("where its pods serve")] = 8000
    scheme: Annotated[Literal["http", "https"], _doc("how they are spoken to")] = "http"
    wait_ready: Annotated[
        bool,
        _doc(
            "a pod joins the fleet when Kubernetes first calls it ready (then `life.starting` is the time to load);"
            " false: with its address, and the pool's own probes tell the rest"
        ),
    ] = False
    namespace: Namespace = None
    kubeconfig: Kubeconfig = None
    context: Context = None
    directory: Annotated[
        str, _doc("where it is kept what the pool has spent, for `max_monthly_cost`; relative to the gateway's folder")
    ] = ".penstock"
    order_s: Annotated[Seconds, _doc("for one order, all its questions together")] = field(default=10.0, name="order")


class Deployment:
    """One. What is not on the pods is held here for as long as they have not come."""

    def __init__(self, spec: KubernetesSpec, name: str, cluster: Cluster, prefix: str, purchase: Purchase) -> None:
        """`prefix`: of the names of replicas that are to come and that nobody here ordered."""
        self.spec = spec
        self._deployment = name
        self._cluster = cluster
        self._prefix = prefix
        self._purchase: Purchase = purchase
        self._one = asyncio.Lock()
        """One order or look at a time: each reads what there is, and changes it by that."""
        self._pending: list[str] = []
        """Replicas in the scale that have no pod yet, the first to come first."""
        self._adopted: set[str] = set()
        """Pods without a replica's name that nobody ordered."""
        self._was_ready: set[str] = set()
        """Pods, by name."""
        self._draining: set[str] = set()
        """Replicas."""
        self._lowered: set[str] = set()
        """Replicas that the scale was made smaller for, and whose pods do not say so yet."""
        self._placeholders = 0

    # ===== looks =====

    async def look(self, timeout_s: float) -> tuple[Unit, ...]:
        """All pods, and what the scale has beyond them."""
        async with self._session(timeout_s) as session:
            there = await self._see(session)
            await self._mend(session, there)
            shown = [self._unit(pod) for pod in there.pods if not (pods.over(pod) and pods.STOPPING in pods.notes(pod))]
            waiting = (Unit(id=unit, state="starting", purchase=self._purchase) for unit in self._pending)
            return (*shown, *waiting)

    def _unit(self, pod: Json) -> Unit:
        if pods.ready(pod):
            self._was_ready.add(pods.name(pod))
        begun = pods.address(pod) and (not self.spec.wait_ready or pods.name(pod) in self._was_ready)
        url = f"{self.spec.scheme}://{pods.address(pod)}:{self.spec.port}" if pods.address(pod) else ""
        shown = pods.shown(pod, _unit_of(pod), pods.STOPPING in pods.notes(pod), bool(begun), url)
        return replace(shown, purchase=self._purchase)

    @contextlib.asynccontextmanager
    async def _session(self, timeout_s: float) -> AsyncIterator[Session]:
        async with asyncio.timeout(timeout_s), self._one, self._cluster.session(timeout_s) as session:
            yield session

    def _path(self, session: Session, what: str) -> str:
        return f"/api/v1/namespaces/{session.namespace}/pods/{what}".rstrip("/")

    async def _see(self, session: Session) -> "_There":
        """The scale and its pods, each with the name of its replica."""
        scale = await session.get(self._scale_path(session))
        selector = str((scale.get("status") or {}).get("selector") or "")
        if not selector:
            raise OSError(f"deployment {self._deployment} has no pod selector yet")
        found, _ = await session.list(self._path(session, ""), {"labelSelector": selector})
        there = _There(scale, sorted(found, key=pods.born))
        await self._name(session, there)
        names = {pods.name(pod) for pod in found}
        self._adopted &= names
        self._was_ready &= names
        units = {_unit_of(pod) for pod in found}
        self._draining &= units
        self._lowered &= units
        return there

    async def _name(self, session: Session, there: "_There") -> None:
        """Give pods that have come the names of those that were ordered; those that nobody ordered keep their own."""
        for at, pod in enumerate(there.pods):
            if pods.UNIT in pods.notes(pod) or pods.name(pod) in self._adopted:
                continue
            if self._pending and pods.counts(pod):
                there.pods[at] = await self._note(session, pod, {pods.UNIT: self._pending[0]})
                del self._pending[0]
            else:
                self._adopted.add(pods.name(pod))
        lacking = there.wanted - len(there.staying()) - len(self._pending)
        del self._pending[max(0, len(self._pending) + min(0, lacking)) :]  # somebody else made the scale smaller
        for _ in range(lacking):  # ordered before a restart, or by somebody else, or to replace one that vanished
            self._placeholders += 1
            self._pending.append(f"{self._prefix}-{self._placeholders}")

    async def _mend(self, session: Session, there: "_There") -> None:
        """Bring deletion costs in line, and delete who was told to end where Kubernetes has ended another instead."""
        for at, pod in enumerate(there.pods):
            if not pods.counts(pod):
                continue
            told = pods.STOPPING in pods.notes(pod)
            cost = pods.ENDS_COST if told else pods.DRAINS_COST if _unit_of(pod) in self._draining else None
            has = pods.notes(pod).get(pods.COST)
            if has != cost and has in (None, pods.ENDS_COST, pods.DRAINS_COST):
                there.pods[at] = await self._note(session, pod, {pods.COST: cost})
        counted = [pod for pod in there.pods if pods.counts(pod)]
        if len(counted) <= there.wanted:  # so nobody will be ended to make them fewer
            for pod in counted:
                if pods.STOPPING in pods.notes(pod):
                    await self._delete(session, pod)

    async def _note(self, session: Session, pod: Json, annotations: dict[str, str | None]) -> Json:
        try:
            return await session.patch(self._path(session, pods.name(pod)), {"metadata": {"annotations": annotations}})
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return pod  # it went meanwhile, which the next look shows
            raise

    async def _delete(self, session: Session, pod: Json) -> None:
        try:
            await session.delete(self._path(session, pods.name(pod)))
        except Refused as refused:
            if refused.status != NOT_FOUND:
                raise

    # ===== orders =====

    async def start(self, unit: str) -> None:
        """One more."""
        async with self._session(self.spec.order_s) as session:
            there = await self._see(session)
            if unit not in self._pending and there.pod_of(unit) is None:
                await self._scale(session, there, 1)
                self._pending.append(unit)

    async def stop(self, unit: str) -> None:
        """One fewer, and this one."""
        async with self._session(self.spec.order_s) as session:
            there = await self._see(session)
            pod = there.pod_of(unit)
            if pod is None:
                if unit in self._pending:
                    await self._scale(session, there, -1)
                    self._pending.remove(unit)
            elif pods.STOPPING not in pods.notes(pod) and not pods.ends(pod):
                if pods.counts(pod) and unit not in self._lowered:
                    await self._note(session, pod, {pods.COST: pods.ENDS_COST})
                    await self._scale(session, there, -1)
                    self._lowered.add(unit)
                await self._note(session, pod, {pods.STOPPING: "true"})
                self._lowered.discard(unit)

    async def drain(self, unit: str, drain: bool) -> None:
        """Whoever else makes the Deployment smaller meanwhile takes this one first."""
        (self._draining.add if drain else self._draining.discard)(unit)
        async with self._session(self.spec.order_s) as session:
            await self._mend(session, await self._see(session))

    def _scale_path(self, session: Session) -> str:
        return f"/apis/apps/v1/namespaces/{session.namespace}/deployments/{self._deployment}/scale"

    async def _scale(self, session: Session, there: "_There", more: int) -> None:
        """Change the number by one, on what it is and not on what it was."""
        for _ in range(MOST_TRIES):
            change = {
                "metadata": {"resourceVersion": there.scale["metadata"]["resourceVersion"]},
                "spec": {"replicas": max(0, there.wanted + more)},
            }
            try:
                there.scale = await session.patch(self._scale_path(session), change)
                return
            except Refused as refused:
                if refused.status != CONFLICT:
                    raise
            there.scale = await session.get(self._scale_path(session))
        raise OSError(f"deployment {self._deployment}: somebody else keeps changing its scale")


class _There:
    """What one reading found."""

    def __init__(self, scale: Json, found: list[Json]) -> None:
        self.scale = scale
        self.pods = found

    @property
    def wanted(self) -> int:
        """How many there are to be."""
        return int((self.scale.get("spec") or {}).get("replicas") or 0)

    def staying(self) -> list[Json]:
        """Those that the Deployment counts and nobody told to end."""
        return [pod for pod in self.pods if pods.counts(pod) and pods.STOPPING not in pods.notes(pod)]

    def pod_of(self, unit: str) -> Json | None:
        """The pod that is this replica."""
        return next((pod for pod in self.pods if _unit_of(pod) == unit), None)


def _unit_of(pod: Json) -> str:
    return pods.notes(pod).get(pods.UNIT) or pods.name(pod)
