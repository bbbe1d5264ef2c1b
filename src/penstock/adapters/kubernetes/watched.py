"""A list of objects that is kept up by watching: listed once, then only changes are asked for, from the version that
was seen last. Where the server remembers that version no more (410), it is listed again.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes. One look is one
watch, of bounded length, that ends with the first change. So nothing runs between two looks, and nothing is missed.
"""

from collections.abc import Mapping

from penstock.adapters.kubernetes.client import Cluster, Json, Refused, Session

GONE = 410


class Watched:
    """Objects of one kind, by name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._version = ""
        """Empty: it must be listed."""
        self._objects: dict[str, Json] = {}

    async def look(self, path: str, params: Mapping[str, str], watch_s: float, timeout_s: float) -> list[Json]:
        """All objects under a path ({namespace} is filled in): at once the first time, later with the first change or
        after `watch_s`; 0: they are listed each time. Raises OSError, and then the next look lists them again."""
        try:
            async with self._cluster.session(timeout_s) as session:
                path = path.format(namespace=session.namespace)
                if not watch_s or not self._version or not await self._watch(session, path, params, watch_s):
                    await self._list(session, path, params)
        except OSError:
            self._version = ""
            raise
        return [self._objects[name] for name in sorted(self._objects)]

    async def _list(self, session: Session, path: str, params: Mapping[str, str]) -> None:
        found, self._version = await session.list(path, params)
        self._objects = {_name(it): it for it in found}

    async def _watch(self, session: Session, path: str, params: Mapping[str, str], watch_s: float) -> bool:
        """Wait for a change; False: the version that we know is not remembered any more."""
        asked = {**params, "resourceVersion": self._version, "timeoutSeconds": str(max(1, round(watch_s)))}
        try:
            async for event in session.events(path, asked):
                kind, it = str(event.get("type")), event.get("object") or {}
                if kind == "ERROR":
                    if it.get("code") == GONE:
                        return False
                    raise Refused(int(it.get("code") or 0), str(it.get("message", "")))
                self._version = str((it.get("metadata") or {}).get("resourceVersion") or self._version)
                if kind != "BOOKMARK":
                    self._take(kind, it)
                    return True
        except Refused as refused:
            if refused.status == GONE:
                return False
            raise
        return True

    def _take(self, kind: str, it: Json) -> None:
        if kind == "DELETED":
            self._objects.pop(_name(it), None)
        else:
            self._objects[_name(it)] = it


def _name(it: Json) -> str:
    return str((it.get("metadata") or {}).get("name", ""))
