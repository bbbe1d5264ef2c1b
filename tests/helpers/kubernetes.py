"""A Kubernetes API server stand-in, over real sockets on loopback: pods, a Deployment's scale, EndpointSlices, watches.

Every object that it holds is checked with the published schemas, every question with the Role of our own example
manifest: what that does not allow is refused as the real one refuses it. Its Deployment makes and ends pods in the
order of the real ReplicaSet controller. Watches remember few versions, and say 410 beyond them.
"""

import asyncio
import contextlib
import copy
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.helpers.kubernetes_objects import Json, Problem, allowed, check, merge, selected, worth
from tests.helpers.wire import until

NAMESPACE = "models"
DEPLOYMENT = "llama-8b"
SPOT = "llama-8b-spot"
TOKEN = "the-account's-token"


class ApiServer:
    """Serves on a port that the system chose, inside `async with`."""

    def __init__(self, remembers: int = 100, tls: ssl.SSLContext | None = None) -> None:
        self.token = TOKEN
        self.scales = {DEPLOYMENT: 0, SPOT: 0}
        self.pods: dict[str, Json] = {}
        self.services: dict[str, list[Json]] = {}
        """Service -> endpoints of its only slice."""
        self.pod_ip = ""
        """Of every pod; empty: each has its own."""
        self.service_port = 8000
        self.runs_pods = True
        """Pods get an address and are ready as soon as they are made."""
        self.controls = True
        """The Deployment does its work; else it is done by `control`."""
        self.lingers = False
        """Pods that are deleted stay until `bury`."""
        self.silent = False
        """It takes questions and answers none."""
        self.conflicts = 0
        """So many changes of the scale meet somebody else's."""
        self.refuses: dict[str, tuple[int, str]] = {}
        """Verb and resource -> status and message, once."""
        self.refuses_changes_of = ""
        """The next change with this text in it is refused."""
        self.asked: list[str] = []
        """Verb and resource of every question."""
        self._rules = allowed()
        self._remembers = remembers
        self._tls = tls
        self._version = 100
        self._scaled_at = dict.fromkeys(self.scales, 100)
        self._made = 0
        self._log: list[tuple[int, str, Json]] = []
        self._news = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()

    # ===== what a test does =====

    def kubeconfig(self, folder: Path) -> str:
        """A file that says where it is, and who we are."""
        path = folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        }))  # fmt: skip
        return str(path)

    @property
    def replicas(self) -> int:
        """The first Deployment's scale."""
        return self.scales[DEPLOYMENT]

    def scale(self, replicas: int, name: str = DEPLOYMENT) -> None:
        """Somebody else sets a Deployment's scale."""
        self.scales[name], self._scaled_at[name] = replicas, self._next()
        self._control_maybe()

    def run_pod(self, name: str) -> None:
        """A pod gets its address, and is ready."""
        number = int(name.rpartition("-")[2])
        self.pods[name]["status"] = {
            "phase": "Running", "podIP": self.pod_ip or f"127.0.1.{number}",
            "conditions": [{"type": "Ready", "status": "True"}],
        }  # fmt: skip
        self._changed("MODIFIED", "pods", self.pods[name])

    def set_status(self, name: str, status: Json) -> None:
        """A pod is in this state now."""
        self.pods[name]["status"] = status
        self._changed("MODIFIED", "pods", self.pods[name])
        self._control_maybe()

    def delete_pod(self, name: str) -> None:
        """A pod begins to end, at somebody's wish; it is gone at once unless it lingers."""
        pod = self.pods[name]
        pod["metadata"].setdefault("deletionTimestamp", self._time())
        pod["metadata"]["deletionGracePeriodSeconds"] = 30
        self._changed("MODIFIED", "pods", pod)
        if not self.lingers:
            self.bury(name)
        self._control_maybe()

    def bury(self, name: str) -> None:
        """A pod is gone."""
        self._changed("DELETED", "pods", self.pods.pop(name))

    def serve(self, service: str, *endpoints: Json) -> None:
        """A service has these endpoints."""
        kind = "MODIFIED" if service in self.services else "ADDED"
        self.services[service] = list(endpoints)
        self._changed(kind, "endpointslices", self._slice(service))

    def forget(self) -> None:
        """No version is remembered any more."""
        self._log.clear()
        self._next()

    def cut(self) -> None:
        """All connections break."""
        for answer in self._answers:
            answer.cancel()

    @property
    def port(self) -> int:
        """Where it serves."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    # ===== the Deployment =====

    def _control_maybe(self) -> None:
        if self.controls:
            self.control()

    def control(self) -> None:
        """As the ReplicaSet controller: those that count, as many as the scale says, the least worth keeping first."""
        for name, replicas in self.scales.items():
            self._control(name, replicas)

    def _control(self, name: str, replicas: int) -> None:
        ours = [pod for pod in self.pods.values() if pod["metadata"]["labels"]["app"] == name]
        active = [
            pod for pod in ours
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Failed", "Succeeded")
        ]  # fmt: skip
        for _ in range(replicas - len(active)):
            self._make(name)
        for pod in sorted(active, key=worth)[: max(0, len(active) - replicas)]:
            self.delete_pod(pod["metadata"]["name"])

    def _make(self, deployment: str) -> None:
        self._made += 1
        name = f"{deployment}-5d9f-{self._made}"
        self.pods[name] = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "labels": {"app": deployment}, "creationTimestamp": self._time(),
            },
            "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai"}]},
            "status": {"phase": "Pending"},
        }  # fmt: skip
        self._changed("ADDED", "pods", self.pods[name])
        if self.runs_pods:
            self.run_pod(name)

    def _time(self) -> str:
        return f"2026-01-01T{self._version // 3600 % 24:02}:{self._version // 60 % 60:02}:{self._version % 60:02}Z"

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _changed(self, kind: str, resource: str, it: Json) -> None:
        it["metadata"]["resourceVersion"] = str(self._next())
        check(it)
        event = {"type": kind, "object": copy.deepcopy(it)}
        self._log.append((self._version, resource, event))
        del self._log[: -self._remembers]
        self._news.set()
        self._news = asyncio.Event()

    # ===== objects as they are asked for =====

    def _slice(self, service: str) -> Json:
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": f"{service}-abc12", "namespace": NAMESPACE, "resourceVersion": str(self._version),
                "labels": {"kubernetes.io/service-name": service},
            },
            "ports": [{"name": "http", "port": self.service_port, "protocol": "TCP"}],
            "endpoints": self.services[service],
        }  # fmt: skip

    def _scale(self, name: str) -> Json:
        it = {
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": str(self._scaled_at[name])},
            "spec": {"replicas": self.scales[name]},
            "status": {"replicas": len(self.pods), "selector": f"app={name}"},
        }  # fmt: skip
        check(it)
        return it

    def _all(self, resource: str) -> list[Json]:
        return list(self.pods.values()) if resource == "pods" else [self._slice(name) for name in self.services]

    # ===== questions =====

    async def __aenter__(self) -> "ApiServer":
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await until(lambda: not self._answers, "the end of all connections")
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answers.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?im)^content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            await self._one(head, body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._answers.discard(task)
            writer.close()

    async def _one(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split("\r\n")[0].split(" ")
        url = urlsplit(target)
        params = dict(parse_qsl(url.query))
        try:
            resource, name, verb = self._may(method, url.path, params, head)
            if self.silent:
                await asyncio.Event().wait()
            if verb == "watch":
                await self._watch(resource, params, writer)
                return
            status, told = 200, self._do(verb, resource, name, params, body, head)
        except Problem as problem:
            status, told = problem.status, self._status(problem)
        payload = json.dumps(told).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
            "Connection: close\r\n\r\n".encode() + payload
        )  # fmt: skip
        await writer.drain()

    @staticmethod
    def _status(problem: Problem) -> Json:
        told = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": problem.status}
        told["message"] = str(problem)
        check(told)
        return told

    def _may(self, method: str, path: str, params: Json, head: str) -> tuple[str, str, str]:
        """Resource, name and verb of a question that our Role allows."""
        if f"authorization: bearer {self.token}".lower() not in head.lower():
            raise Problem(401, "Unauthorized")
        match = re.fullmatch(rf"/(?:api|apis/([^/]+))/v1/namespaces/{NAMESPACE}/([a-z]+)(?:/([^/]+))?(/scale)?", path)
        if match is None:
            raise Problem(404, f"no such path {path}")
        group, resource, name = match[1] or "", match[2] + (match[4] or ""), match[3] or ""
        verb = {"GET": "get" if name else "watch" if params.get("watch") else "list"}.get(method, method.lower())
        self.asked.append(f"{verb} {resource}")
        for rule in self._rules:
            if (
                group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
                and name in rule.get("resourceNames", [name])
            ):  # fmt: skip
                break
        else:
            raise Problem(403, f"cannot {verb} resource {resource!r} in API group {group!r}")
        if f"{verb} {resource}" in self.refuses:
            raise Problem(*self.refuses.pop(f"{verb} {resource}"))
        return resource, name, verb

    def _do(self, verb: str, resource: str, name: str, params: Json, body: bytes, head: str) -> Json:
        if verb == "list":
            return self._list(resource, params)
        if resource == "deployments/scale":
            return self._scale(name) if verb == "get" else self._rescale(name, json.loads(body))
        if name not in self.pods:
            raise Problem(404, f'pods "{name}" not found')
        pod = self.pods[name]
        if verb == "delete":
            self.delete_pod(name)
        else:
            assert "content-type: application/merge-patch+json" in head.lower()
            if self.refuses_changes_of and self.refuses_changes_of in body.decode():
                self.refuses_changes_of = ""
                raise Problem(503, "try later")
            merge(pod, json.loads(body))
            self._changed("MODIFIED", "pods", pod)
        return pod

    def _rescale(self, name: str, change: Json) -> Json:
        if self.conflicts:
            self.conflicts -= 1
            self._scaled_at[name] = self._next()
        if change["metadata"]["resourceVersion"] != str(self._scaled_at[name]):
            raise Problem(409, "the object has been modified; please apply your changes to the latest version")
        check({"apiVersion": "autoscaling/v1", "kind": "Scale", **change})
        self.scale(change["spec"]["replicas"], name)
        return self._scale(name)

    def _list(self, resource: str, params: Json) -> Json:
        """In pages of two, so that nobody can do without the next one."""
        found = [it for it in self._all(resource) if selected(it, params)]
        at = int(params.get("continue", "0"))
        meta = {"resourceVersion": str(self._version)}
        if at + 2 < len(found):
            meta["continue"] = str(at + 2)
        check(meta, "ListMeta")
        return {"apiVersion": "v1", "kind": "List", "metadata": meta, "items": found[at : at + 2]}

    async def _watch(self, resource: str, params: Json, writer: asyncio.StreamWriter) -> None:
        since, ends = int(params["resourceVersion"]), float(params["timeoutSeconds"])
        oldest = self._log[0][0] if self._log else self._version + 1
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        writer.write(head + b"Connection: close\r\n\r\n")
        if since < oldest - 1:
            _tell(writer, {"type": "ERROR", "object": self._status(Problem(410, "too old resource version"))})
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ends):
                    while True:
                        news = self._news
                        for version, of, event in self._log:
                            if version > since and of == resource and selected(event["object"], params):
                                _tell(writer, event)
                        since = self._version
                        await writer.drain()
                        await news.wait()
            assert params["allowWatchBookmarks"] == "true"
            _tell(writer, self._bookmark(resource))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _bookmark(self, resource: str) -> Json:
        kind = "Pod" if resource == "pods" else "EndpointSlice"
        return {"type": "BOOKMARK", "object": {"kind": kind, "metadata": {"resourceVersion": str(self._version)}}}


def _tell(writer: asyncio.StreamWriter, event: Json) -> None:
    """One event of a watch."""
    line = json.dumps(event).encode() + b"\n"
    writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")


@contextlib.asynccontextmanager
async def cluster(folder: Path, **options: Any) -> AsyncIterator[tuple[ApiServer, str]]:
    """A server, and the kubeconfig for it."""
    async with ApiServer(**options) as server:
        yield server, server.kubeconfig(folder)
