"""`penstock load`: options into a plan, a progress bar while it runs, tables or JSON at its end."""

import asyncio
import contextlib
import os
import secrets
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
import uvloop
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.base.errors import ConfigError
from penstock.base.units import parse_seconds, show_seconds
from penstock.loadgen.client import Client, Target, check_key, parse_target, tls_context
from penstock.loadgen.exchange import Timeouts
from penstock.loadgen.keys import Keyring, Tenant, read_keys
from penstock.loadgen.preflight import Unready, model_of
from penstock.loadgen.report import Report, render, report_of, to_json
from penstock.loadgen.run import Plan, Replay, planned, raise_file_limit
from penstock.loadgen.tally import Slo, Tally, percentile
from penstock.loadgen.traces import SHIPPED, open_trace
from penstock.workload.lines import TraceError
from penstock.workload.request import Request

KEY_VARIABLES = ("PENSTOCK_API_KEY", "OPENAI_API_KEY")
INTERRUPTED = 130
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)
MIN_WIDTH = 140

Url = Annotated[str, typer.Option(help="The OpenAI endpoint. Load goes there and nowhere else.")]
Trace = Annotated[
    str, typer.Option(help=f"{' or '.join(SHIPPED)} (shipped), a file of CSV or JSON lines, or a workload, NAME.yaml.")
]
Speed = Annotated[float, typer.Option(min=1e-6, help="2: twice as fast as the trace's clock.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most requests.")]
Duration = Annotated[str | None, typer.Option(metavar="TIME", help="Send nothing later than this, e.g. 90s or 5m.")]
Repeat = Annotated[bool, typer.Option("--repeat", help="Begin the trace again at its end, until --limit, --duration.")]
Concurrency = Annotated[
    int, typer.Option(min=1, help="Most requests in flight; what comes beyond is not sent, and counted as a miss.")
]
Closed = Annotated[
    int | None, typer.Option(min=1, metavar="USERS", help="Closed loop: a user asks again when he has his answer.")
]
Model = Annotated[str | None, typer.Option(help="Default: the trace's, else the first that /v1/models lists.")]
Key = Annotated[str | None, typer.Option(help=f"API key. Default: the environment's {' or '.join(KEY_VARIABLES)}.")]
Keys = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", exists=True, dir_okay=False,
        help="Many tenants: YAML, `name: key` or `name: {key: …, share: 10}`. A request goes with its "
        "tenant's key; those that name none of them are dealt by share.",
    ),
]  # fmt: skip
ApiName = Annotated[
    Literal["chat", "completions", "embeddings"],
    typer.Option(help="/v1/chat/completions, /v1/completions or /v1/embeddings."),
]
Stream = Annotated[bool, typer.Option("--stream/--no-stream", help="Ask for streams, or for whole answers.")]
MaxPrompt = Annotated[int | None, typer.Option(min=1, help="Shorten longer prompts to this (a small context window).")]
MaxOutput = Annotated[int | None, typer.Option(min=1, help="Ask for no more output tokens than this.")]
SloTtft = Annotated[str, typer.Option(metavar="TIME", help="A good answer's time to first token; 'none': no bound.")]
SloItl = Annotated[str, typer.Option(metavar="TIME", help="A good answer's mean time per further token; 'none'.")]
SloE2e = Annotated[str, typer.Option(metavar="TIME", help="A good answer's time to its end; 'none'.")]
Timeout = Annotated[str, typer.Option(metavar="TIME", help="For a whole request.")]
IdleTimeout = Annotated[str, typer.Option(metavar="TIME", help="Between two reads of an answer that has begun.")]
Seed = Annotated[
    int | None,
    typer.Option(
        help="Of prompts and workloads: the same again, which a target may have cached. Default: a new one, and shown."
    ),
]
Ca = Annotated[Path | None, typer.Option(help="https: file of the authorities to trust.", exists=True, dir_okay=False)]
Insecure = Annotated[bool, typer.Option("--insecure", help="https: trust any certificate.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the report as JSON; -: to stdout.")]
FailOnError = Annotated[bool, typer.Option("--fail-on-error", help="Exit with 1 if any request failed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def load(
    url: Url = "http://127.0.0.1:8080", trace: Trace = "azure", speed: Speed = 1.0, limit: Limit = None,
    duration: Duration = None, repeat: Repeat = False, concurrency: Concurrency = 10_000, closed: Closed = None,
    model: Model = None, key: Key = None, keys: Keys = None, api: ApiName = "chat", stream: Stream = True,
    max_prompt_tokens: MaxPrompt = None, max_output_tokens: MaxOutput = None,
    slo_ttft: SloTtft = "1s", slo_itl: SloItl = "100ms", slo_e2e: SloE2e = "none",
    timeout: Timeout = "10m", idle_timeout: IdleTimeout = "2m", seed: Seed = None, ca: Ca = None,
    insecure: Insecure = False, json: Json = None, fail_on_error: FailOnError = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Replay a request trace against any OpenAI endpoint; ends in tables of latencies, goodput, errors and load.

    Requests go out at the trace's times, whatever the answers do (open loop), with prompts of the trace's lengths and
    its shared prefixes. Ctrl-C ends it and shows what was done so far. Exit status: 0 it ran, 1 no request
    succeeded (or one failed, with --fail-on-error), 2 a mistake in the options or the trace, 130 stopped by Ctrl-C.
    """
    if repeat and limit is None and duration is None:
        raise typer.BadParameter("needs --limit or --duration to end", param_hint="--repeat")
    if json not in (None, "-") and not os.access(Path(json).absolute().parent, os.W_OK):
        raise typer.BadParameter(f"cannot write {json}", param_hint="--json")  # now, not after an hour of load
    total_s = _seconds(timeout, "--timeout")
    target = _target(url)
    drawn = secrets.randbelow(1_000_000) if seed is None else seed
    plan = Plan(
        model=model or "", api=api, stream=stream, speed=speed, limit=limit, repeat=repeat, closed=closed,
        duration_s=None if duration is None else _seconds(duration, "--duration"),
        concurrency=min(concurrency, raise_file_limit()),
        seed=drawn,
        max_prompt_tokens=max_prompt_tokens, max_output_tokens=max_output_tokens,
    )  # fmt: skip
    job = _Job(
        target=target, key=_key(key), keys=_keys(keys), tls=_tls(target, ca, insecure), trace=trace, plan=plan,
        requests=_requests(trace, drawn, limit),
        slo=Slo(ttft_s=_bound(slo_ttft, "ttft"), itl_s=_bound(slo_itl, "itl"), e2e_s=_bound(slo_e2e, "e2e")),
        timeouts=Timeouts(first_byte_s=total_s, idle_s=_seconds(idle_timeout, "--idle-timeout"), total_s=total_s),
    )  # fmt: skip
    with _until_told():
        report = _measure(job, not quiet and sys.stderr.isatty())
        _tell(report, json)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if (report.failed and not report.ok) or (fail_on_error and (report.failed or report.not_sent)):
        raise typer.Exit(1)


# ===== what was typed =====


def _seconds(text: str, option: str) -> float:
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if not 0 < seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a time above 0", param_hint=option)
    return seconds


def _bound(text: str, slo: str) -> float | None:
    return None if text == "none" else _seconds(text, f"--slo-{slo}")


def _target(url: str) -> Target:
    try:
        return parse_target(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None


def _tls(target: Target, ca: Path | None, insecure: bool) -> ssl.SSLContext | None:
    if not target.tls:
        return None
    try:
        return tls_context(None if ca is None else str(ca), verify=not insecure)
    except (OSError, ssl.SSLError) as error:
        raise typer.BadParameter(f"not a file of PEM certificates: {error}", param_hint="--ca") from None


def _requests(trace: str, seed: int, limit: int | None) -> list[Request]:
    try:
        return open_trace(trace, seed, limit)
    except (TraceError, ConfigError) as error:
        raise typer.BadParameter(str(error), param_hint="--trace") from None


def _key(typed: str | None) -> str | None:
    key = typed or next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None)
    try:
        return check_key(key) if key else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--key") from None


def _keys(file: Path | None) -> dict[str, Tenant]:
    try:
        return read_keys(file.read_text()) if file is not None else {}
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--keys") from None


# ===== the run =====


class _Job(Struct, frozen=True, kw_only=True):
    target: Target
    key: str | None
    keys: dict[str, Tenant]
    """By tenant; none: everything goes with `key`."""
    timeouts: Timeouts
    tls: ssl.SSLContext | None
    trace: str
    requests: list[Request]
    plan: Plan
    slo: Slo


def _measure(job: _Job, show: bool) -> Report:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(job, show))
        except Unready as error:
            typer.echo(f"penstock load: {error}", err=True)
            raise typer.Exit(1) from None


async def _run(job: _Job, show: bool) -> Report:
    plan, first = job.plan, next(iter(job.keys.values()), None)
    key = job.key if first is None else first.key
    asker = Client(job.target, key=key, timeouts=Timeouts(first_byte_s=5.0, total_s=10.0), tls=job.tls)
    client = Client(job.target, key=job.key if first is None else None, timeouts=job.timeouts, tls=job.tls)
    try:
        named = plan.model or next((row.model for row in job.requests if row.model), None)
        default = await model_of(asker, named)
    finally:
        asker.close()
    plan = replace(plan, default_model=default)
    tally = Tally(job.slo, stream=plan.stream, planned=planned(job.requests, plan))
    with _Screen(tally, show) as screen:
        keyring = Keyring(job.keys, plan.seed) if job.keys else None
        replay = Replay(job.requests, plan, client, tally, screen.update, keys=keyring)
        _stop_by(replay.halt, asyncio.get_running_loop())
        await replay.run()
    return report_of(tally, target=job.target.url, trace=job.trace, model=default, mode=_mode(plan))


def _stop_by(halt: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
    """Ctrl-C and SIGTERM stop the run, and do nothing once it is over: see `_until_told`."""

    def stop(number: int, frame: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(halt)

    for number in _STOPS:
        signal.signal(number, stop)


@contextlib.contextmanager
def _until_told() -> Iterator[None]:
    """Who stops a run may say so twice at once (`timeout` signals its command, and then its group): that must not cost
    the tables of what was done, so handlers are as before only when these are out."""
    before = [(number, signal.getsignal(number)) for number in _STOPS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _mode(plan: Plan) -> str:
    kind = f"closed loop, users: {plan.closed}" if plan.closed is not None else f"open loop, speed × {plan.speed:g}"
    return f"{kind}{'' if plan.stream else ', no streaming'}{', repeated' if plan.repeat else ''}, seed {plan.seed}"


# ===== the screen =====


class _Screen:
    """The progress bar, on standard error, so that standard output stays the report's."""

    def __init__(self, tally: Tally, show: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not show,
            transient=True,
        )
        self._task = self._progress.add_task("load", total=tally.planned, counts="")

    def __enter__(self) -> "_Screen":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, tally: Tally) -> None:
        recent = sorted(tally.recent_ttft_s)
        ttft = f"  TTFT p50 {show_seconds(percentile(recent, 0.5))}" if recent else ""
        errors = tally.done - tally.ok
        counts = f"sent {tally.sent}  in flight {tally.in_flight}  done {tally.done}  errors {errors}{ttft}"
        self._progress.update(self._task, completed=tally.done + tally.not_sent, counts=counts)


def _tell(report: Report, json: str | None) -> None:
    console = Console(stderr=json == "-")
    if not console.is_terminal:
        console.width = MIN_WIDTH  # a pipe has no width: cut nothing
    console.print(render(report))
    if json == "-":
        typer.echo(to_json(report).decode(), nl=False)
    elif json is not None:
        Path(json).write_bytes(to_json(report))
