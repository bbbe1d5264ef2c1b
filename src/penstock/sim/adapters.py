"""The LoRA adapters of one simulated engine: which are in its memory, which are loaded, who waits for one.

As with vLLM: an engine has so many slots; a request whose adapter is in one goes on at once, past those that wait for
theirs; an adapter is loaded for who waits longest, as soon as a slot is free or held by one that nobody uses. Loading
takes its time beside the steps, which go on meanwhile.
"""

from collections import OrderedDict
from collections.abc import Callable

from penstock.config.scenarios import Loras
from penstock.drive.kernel import Kernel

Go = Callable[[], None]


class Shelf:
    """One engine's."""

    __slots__ = ("_kernel", "_life", "_loading", "_ready", "_spec", "_users", "_waiting", "loads")

    def __init__(self, spec: Loras, kernel: Kernel) -> None:
        self._spec = spec
        self._kernel = kernel
        self._life = 0
        """Counts the engine's starts: what was being loaded before the last one is of no use."""
        self._ready: OrderedDict[str, int] = OrderedDict()
        """Adapter in memory -> who uses it; the least recently used first."""
        self._loading: dict[str, None] = {}
        self._waiting: dict[str, tuple[str, Go]] = {}
        """Who waits -> for what, and what to do then; in their order."""
        self._users: dict[str, str] = {}
        """Who goes on -> with what."""
        self.loads = 0

    # ===== requests =====

    def take(self, name: str, adapter: str, go: Go) -> None:
        """Somebody needs an adapter: he goes on now, or when it is there."""
        if adapter in self._ready:
            self._use(name, adapter)
            go()
        else:
            self._waiting[name] = (adapter, go)
            self._load()

    def over(self, name: str) -> None:
        """He needs it no more, whether he had it or not. Who needs none may be told of as well."""
        adapter = self._users.pop(name, None)
        if adapter is not None:
            self._ready[adapter] -= 1
            self._ready.move_to_end(adapter)
            self._load()
        else:
            self._waiting.pop(name, None)

    def abandon(self) -> None:
        """All that go on or wait are gone; what is in memory stays."""
        self._users.clear()
        self._waiting.clear()
        for adapter in self._ready:
            self._ready[adapter] = 0

    def restart(self) -> None:
        """The engine begins anew, with nothing in its memory."""
        self.abandon()
        self._ready.clear()
        self._loading.clear()
        self._life += 1

    # ===== what is told =====

    def load_s(self, adapter: str) -> float:
        """Until it could be had, if it were asked for now and somebody made room."""
        return 0.0 if adapter in self._ready else self._spec.load_s

    @property
    def slots(self) -> int:
        """Adapters that it holds at once."""
        return self._spec.max_loras

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def running_names(self) -> tuple[str, ...]:
        """Adapters that somebody uses now: an idle one is not told, as vLLM has it."""
        return tuple(adapter for adapter, users in self._ready.items() if users)

    def waiting_names(self) -> tuple[str, ...]:
        """Adapters that somebody waits for."""
        return tuple(dict.fromkeys(adapter for adapter, _ in self._waiting.values()))

    # ===== slots =====

    def _use(self, name: str, adapter: str) -> None:
        self._users[name] = adapter
        self._ready[adapter] += 1
        self._ready.move_to_end(adapter)

    def _load(self) -> None:
        """Begin to load for who waits, the first one first, while there is a slot."""
        for adapter in self.waiting_names():
            if adapter in self._loading:
                continue
            if len(self._ready) + len(self._loading) >= self._spec.max_loras:
                idle = next((other for other, users in self._ready.items() if not users), None)
                if idle is None:
                    return
                del self._ready[idle]
            self._loading[adapter] = None
            self.loads += 1
            self._kernel.at(self._kernel.now + self._spec.load_s, self._loaded, (adapter, self._life))

    def _loaded(self, what: tuple[str, int]) -> None:
        adapter, life = what
        if life != self._life:
            return
        del self._loading[adapter]
        self._ready[adapter] = 0
        going = [(name, go) for name, (wanted, go) in self._waiting.items() if wanted == adapter]
        for name, _ in going:  # all of them first: one that is over at once must not make room for another adapter
            del self._waiting[name]
            self._use(name, adapter)
        for name, go in going:
            if name in self._users:
                go()
        self._load()
