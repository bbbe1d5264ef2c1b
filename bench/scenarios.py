"""The scenarios: what is asked of a gateway, and which numbers are kept of it. One function a scenario.

The load generator and the upstream share one core, the gateway has the other. CPU per request is what to trust; latency
and requests per second move with whatever else the machine does.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable
from typing import Any

from bench.gateways import HERE, KEY, UPSTREAMS, WORK, Gateway
from bench.processes import Meter, descendants, rss_kib

GATEWAY_CORE = int(os.environ.get("GATEWAY_CORE", "0"))
LOAD_CORE = int(os.environ.get("LOAD_CORE", "1"))
TOOLS = HERE / "bin"
MILLION = 1_000_000
WARM_UP = 100_000
"""Requests before memory is first read in the scenario `million`: pools and caches are filled then."""

Row = dict[str, Any]
MESSAGES = (
    "You are a helpful assistant that answers briefly and precisely, citing sources whenever that is possible.",
    "Summarise the following paragraph in two sentences: The quick brown fox jumps over the lazy dog while the sleepy "
    "cat watches from the window sill, wondering whether it should join them or not today.",
)


def build_tools() -> None:
    """Compile the upstream and the load generator. Raises FileNotFoundError where there is no C compiler."""
    TOOLS.mkdir(exist_ok=True)
    for name in ("mock", "load"):
        source, target = HERE / "native" / f"{name}.c", TOOLS / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-o", str(target), str(source), "-lm"], check=True, timeout=120)


def upstream_command() -> list[str]:
    """The mock upstream, a port for each replica."""
    return [str(TOOLS / "mock"), "-p", ",".join(map(str, UPSTREAMS))]


def body(control: str = "", **settings: object) -> bytes:
    """A chat request of about 470 bytes. What steers the upstream (chunks, delay) goes inside a message."""
    messages = [
        {"role": "system", "content": MESSAGES[0] + control},
        {"role": "user", "content": MESSAGES[1]},
    ]
    return json.dumps({"model": "mock-model", "messages": messages, "temperature": 0.7, **settings}).encode()


def long_body(size: int) -> bytes:
    """A chat request of so many bytes: most of it is a document in its first message."""
    short = body(max_tokens=128)
    words = random.Random(size).choices(MESSAGES[1].split(), k=size // 3)
    return body(" " + " ".join(words)[: size - len(short) - 1], max_tokens=128)


PLAIN = body(max_tokens=128)
FAST_STREAM = body(" chunks=64 delay=0", max_tokens=64, stream=True)
PACED_STREAM = body(" chunks=64 delay=5", max_tokens=64, stream=True)
SLOW_STREAM = body(" chunks=16 delay=1000", max_tokens=16, stream=True)


def load_command(gateway: Gateway, connections: int, seconds: float, content: bytes, *extra: str) -> list[str]:
    """The load generator against one gateway."""
    WORK.mkdir(parents=True, exist_ok=True)
    file = WORK / "body.json"
    file.write_bytes(content)
    base = [str(TOOLS / "load"), "-u", gateway.url, "-c", str(connections), "-t", str(seconds), "-b", str(file)]
    return [*base, "-H", f"Authorization: Bearer {KEY}", *extra]


def load(gateway: Gateway, connections: int, seconds: float, content: bytes, *extra: str) -> Row:
    """Run the load generator and return its own report."""
    command = load_command(gateway, connections, seconds, content, *extra)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=seconds + 120, preexec_fn=_on_load_core
    )
    report: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return report


def _on_load_core() -> None:
    os.sched_setaffinity(0, {LOAD_CORE})


def errors(report: Row) -> int:
    """Everything that went wrong, in the load generator's eyes."""
    kinds = ("err_http", "err_trunc", "err_conn", "err_nodone", "hung")
    return sum(int(report.get(kind, 0)) for kind in kinds)


def requests(gateway: Gateway, seconds: float, content: bytes = PLAIN) -> Row:
    """64 connections, closed loop, not streamed: CPU a request."""
    load(gateway, 64, 1, content)
    with Meter(gateway.pid, GATEWAY_CORE) as meter:
        report = load(gateway, 64, seconds, content)
    return {
        "cpu_us": round(meter.cpu_s * 1e6 / max(1, report["ok"]), 2),
        "per_s": report["rps"],
        "requests": report["ok"],
        "p50_us": report["lat_us"]["p50"],
        "p99_us": report["lat_us"]["p99"],
        "errors": errors(report),
        **meter.row(),
    }


def requests_8k(gateway: Gateway, seconds: float) -> Row:
    """The same with bodies of 8 KB: a conversation."""
    return requests(gateway, seconds, long_body(8_000))


def requests_400k(gateway: Gateway, seconds: float) -> Row:
    """The same with bodies of 400 KB: a long document, some 100,000 tokens."""
    return requests(gateway, seconds, long_body(400_000))


def latency(gateway: Gateway, seconds: float) -> Row:
    """One connection, sixteen connections, and 200 requests a second in an open loop."""
    load(gateway, 4, 0.5, PLAIN)
    row: Row = {}
    for name, connections, extra in (("one", 1, []), ("sixteen", 16, []), ("open200", 16, ["-R", "200"])):
        with Meter(gateway.pid, GATEWAY_CORE) as meter:
            report = load(gateway, connections, min(3.0, seconds), PLAIN, *extra)
        row[f"{name}_p50_us"] = report["lat_us"]["p50"]
        row[f"{name}_p99_us"] = report["lat_us"]["p99"]
        row[f"{name}_cpu_us"] = round(meter.cpu_s * 1e6 / max(1, report["ok"]), 1)
        row["errors"] = row.get("errors", 0) + errors(report)
    return row


def _chunks(gateway: Gateway, seconds: float, content: bytes) -> Row:
    load(gateway, 64, 0.6, content, "-s")
    with Meter(gateway.pid, GATEWAY_CORE) as meter:
        report = load(gateway, 64, seconds, content, "-s")
    if not report["events"]:
        raise RuntimeError(f"no chunk arrived: {report['statuses']} {report['errsample'][:200]}")
    return {
        "cpu_us_chunk": round(meter.cpu_s * 1e6 / report["events"], 3),
        "cpu_us_stream": round(meter.cpu_s * 1e6 / max(1, report["ok"]), 1),
        "chunks_per_s": report["events_per_s"],
        "ttft_p50_us": report["ttft_us"]["p50"],
        "ttft_p99_us": report["ttft_us"]["p99"],
        "transit_p50_us": report["transit_us"]["p50"],
        "transit_p99_us": report["transit_us"]["p99"],
        "chunks": report["events"],
        "errors": errors(report),
        **meter.row(),
    }


def fast(gateway: Gateway, seconds: float) -> Row:
    """64 streams of 64 chunks without a pause: chunks run together where the gateway falls behind."""
    return _chunks(gateway, seconds, FAST_STREAM)


def paced(gateway: Gateway, seconds: float) -> Row:
    """64 streams of 64 chunks, 5 ms apart: every chunk arrives alone. The honest cost of relaying one."""
    return _chunks(gateway, seconds, PACED_STREAM)


def streams(gateway: Gateway, seconds: float) -> Row:
    """9,000 streams at once, one chunk a second, 16 chunks: memory a stream, and whether all of them end well."""
    return slow_streams(gateway, 9000, ramp_s=6)


def slow_streams(gateway: Gateway, count: int, ramp_s: int) -> Row:
    """`count` slow streams, opened over `ramp_s` seconds."""
    load(gateway, 8, 0.3, FAST_STREAM, "-s")
    time.sleep(0.5)
    before = rss_kib(descendants(gateway.pid))
    command = load_command(gateway, count, 30, SLOW_STREAM, "-s", "-1", "-w", str(ramp_s))
    with (
        Meter(gateway.pid, GATEWAY_CORE) as meter,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_on_load_core) as running,
    ):
        peak = _peak_rss_kib(gateway, running, ramp_s + 25)
        try:
            output, _ = running.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    report: Row = json.loads(output.strip().splitlines()[-1])
    return {
        "streams": count,
        "ok": report["ok"],
        "errors": errors(report),
        "at_once": report["max_inflight"],
        "statuses": report["statuses"],
        "error_sample": report["errsample"][:200],
        "rss_before_kib": before,
        "rss_peak_kib": peak,
        "kib_per_stream": round((peak - before) / count, 2),
        "cpu_us_chunk": round(meter.cpu_s * 1e6 / max(1, report["events"]), 2),
        "transit_p50_us": report["transit_us"]["p50"],
        "transit_p99_us": report["transit_us"]["p99"],
        **meter.row(),
    }


def _peak_rss_kib(gateway: Gateway, running: "subprocess.Popen[str]", patience_s: float) -> int:
    peak, until = 0, time.monotonic() + patience_s
    while running.poll() is None and time.monotonic() < until:
        peak = max(peak, rss_kib(descendants(gateway.pid)))
        time.sleep(0.25)
    return peak


def million(gateway: Gateway, seconds: float) -> Row:
    """A million requests: memory after 100,000, and by how much it has grown at the end."""
    first = load(gateway, 64, 120, PLAIN, "-n", str(WARM_UP))
    before = rss_kib(descendants(gateway.pid))
    samples: list[int] = []
    wrong = errors(first)
    done = 0
    while done < MILLION:
        report = load(gateway, 64, 120, PLAIN, "-n", str(WARM_UP))
        done += report["ok"]
        wrong += errors(report)
        samples.append(rss_kib(descendants(gateway.pid)))
        if not report["ok"]:
            raise RuntimeError(f"no request succeeded: {report['statuses']} {report['errsample'][:200]}")
    return {
        "requests": done,
        "errors": wrong,
        "rss_before_kib": before,
        "rss_after_kib": samples[-1],
        "rss_samples_kib": samples,
        "growth_kib": samples[-1] - before,
    }


SCENARIOS: dict[str, Callable[[Gateway, float], Row]] = {
    "requests": requests,
    "requests8k": requests_8k,
    "requests400k": requests_400k,
    "latency": latency,
    "paced": paced,
    "fast": fast,
    "streams": streams,
    "million": million,
}
ONCE = frozenset({"latency", "streams", "million"})
"""Scenarios that are not repeated."""
ALONE = frozenset({"streams", "million"})
"""Scenarios for which only one gateway lives at a time: they leave thousands of idle connections, or take minutes."""
NOT_DIRECT = frozenset({"streams", "million"})
"""Scenarios that say nothing without a gateway."""
