"""What can be made to go wrong: a closed list of faults with probability and count, drawn from a seeded stream."""

import time
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from penstock.base.rand import Rand
from penstock.config.mistakes import did_you_mean

Kind = Literal[
    "refuse", "reset_before_head", "close_before_head", "close_after_head", "garbage", "status", "hang_before_head",
    "hang_mid_stream", "reset_mid_stream", "close_mid_stream", "truncated", "bad_chunk", "slow_drip", "error_event",
    "wrong_metrics", "lying_metrics", "flap", "slow",
]  # fmt: skip

KINDS: dict[Kind, str] = {
    "refuse": "close every new connection at once",
    "reset_before_head": "read the request, then reset the connection (RST)",
    "close_before_head": "read the request, then close without an answer (FIN)",
    "close_after_head": "send the response head, then close",
    "garbage": "answer with bytes that are not HTTP, then close",
    "status": "answer with `status` in the error shape, and Retry-After where `retry_after_s` is set",
    "hang_before_head": "never answer (health checks still do: only paths under `path` are hit)",
    "hang_mid_stream": "stop after `after` events and keep the connection open",
    "reset_mid_stream": "reset the connection (RST) after `after` events",
    "close_mid_stream": "close the connection (FIN) after `after` events, without an end of the body",
    "truncated": "announce the whole body, send half of it, then close",
    "bad_chunk": "send a malformed chunk size after `after` events, then close",
    "slow_drip": "send the answer byte by byte, `delay_s` apart",
    "error_event": "send an error event after `after` events, then end the stream",
    "wrong_metrics": "answer /metrics with nonsense",
    "lying_metrics": "answer /metrics as an engine that is idle, or full, as `claim` says",
    "flap": "for `period_s` all is well, for the next new connections and requests are reset, probes too, and so on",
    "slow": "every step of the engine takes `factor` times as long while this is set",
}  # fmt: skip


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to misbehave."""

    kind: Annotated[Kind, Meta(description="what goes wrong")]
    probability: Annotated[float, Meta(ge=0, le=1, description="share of the requests (or connections) hit")] = 1.0
    count: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="how often at most; null: always")] = None
    path: Annotated[str, Meta(description="only requests to paths that begin so")] = "/v1/"
    status: Annotated[int, Meta(ge=400, le=599, description="for `status`")] = 500
    retry_after_s: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="for `status`: the Retry-After header")
    ] = None
    after: Annotated[int, Meta(ge=0, description="for mid-stream kinds: events sent before it happens")] = 3
    delay_s: Annotated[float, Meta(ge=0, le=60, description="for `slow_drip`: pause before every byte")] = 0.01
    claim: Annotated[Literal["idle", "full"], Meta(description="for `lying_metrics`")] = "idle"
    period_s: Annotated[float, Meta(gt=0, le=3600, description="for `flap`: how long it is up, and down")] = 1.0
    factor: Annotated[float, Meta(gt=0, le=10_000, description="for `slow`")] = 10.0


class Faults:
    """The faults that are set now, and how often each has struck."""

    def __init__(self, faults: tuple[Fault, ...], seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stream = Rand(seed).stream("faults")
        self.struck: list[int] = []
        self.set: tuple[Fault, ...] = ()
        self.replace(faults)

    def replace(self, faults: tuple[Fault, ...]) -> None:
        """From now on these, counted from zero."""
        self.set = faults
        self._since = self._clock()
        self.struck = [0] * len(faults)

    @property
    def slow_factor(self) -> float:
        """How many times as long the engine takes."""
        factor = 1.0
        for fault in self.set:
            if fault.kind == "slow":
                factor *= fault.factor
        return factor

    def for_connection(self) -> bool:
        """Whether this new connection is refused."""
        return self._strike(lambda fault: fault.kind == "refuse" or self._is_down(fault)) is not None

    def for_request(self, path: str) -> Fault | None:
        """The fault that hits this request, if any: the first that applies."""
        if path == "/metrics":
            return self._strike(lambda fault: fault.kind in _OF_METRICS or _covers(fault, path) or self._is_down(fault))
        return self._strike(lambda fault: _covers(fault, path) or self._is_down(fault))

    def _is_down(self, fault: Fault) -> bool:
        """Whether this is a replica that flaps, in a time in which it is down."""
        return fault.kind == "flap" and int((self._clock() - self._since) / fault.period_s) % 2 == 1

    def _strike(self, applies: Callable[[Fault], bool]) -> Fault | None:
        for index, fault in enumerate(self.set):
            if not applies(fault) or (fault.count is not None and self.struck[index] >= fault.count):
                continue
            if fault.probability >= 1.0 or self._stream.random() < fault.probability:
                self.struck[index] += 1
                return fault
        return None


_OF_METRICS = ("wrong_metrics", "lying_metrics")
_NOT_OF_REQUESTS = ("refuse", "slow", "flap", *_OF_METRICS)


def _covers(fault: Fault, path: str) -> bool:
    return fault.kind not in _NOT_OF_REQUESTS and path.startswith(fault.path)


_FIELDS = tuple(name for name in Fault.__struct_fields__ if name != "kind")


def parse_fault(text: str) -> Fault:
    """A fault from "kind" or "kind,field=value,…", as the command line has it. Raises ValueError that says why."""
    kind, *settings = text.split(",")
    fields = {"kind": kind.strip()}
    if fields["kind"] not in KINDS:
        hint = did_you_mean(fields["kind"], KINDS) or f"kinds are {', '.join(KINDS)}"
        raise ValueError(f"there is no fault {fields['kind']!r}; {hint}")
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} in fault {text!r}: write field=value, e.g. probability=0.1")
        if name.strip() not in _FIELDS:
            hint = did_you_mean(name.strip(), _FIELDS) or f"fields are {', '.join(_FIELDS)}"
            raise ValueError(f"fault {text!r}: there is no field {name.strip()!r}; {hint}")
        fields[name.strip()] = value.strip()
    try:
        return msgspec.convert(fields, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"fault {text!r}: {error}") from None
