"""`penstock workload`: what a trace or a workload file amounts to, counted in one pass, and written where wanted."""

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import typer

from penstock.base.errors import ConfigError
from penstock.config.workloads import SHIPPED, open_workload
from penstock.workload.census import Census
from penstock.workload.export import to_csv, to_json_lines
from penstock.workload.lines import TraceError
from penstock.workload.oracle import prefix_bound
from penstock.workload.request import Request

Name = Annotated[
    str,
    typer.Argument(help=f"{' or '.join(SHIPPED)} (shipped), a file of CSV or JSON lines, or a workload, NAME.yaml."),
]
Seed = Annotated[int | None, typer.Option(help="Of all luck; the file's own counts before it. Default: a new one.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most requests.")]
Out = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Write the requests: CSV where the name ends in .csv, else JSON lines."),
]
Json = Annotated[bool, typer.Option("--json", help="Tell everything as one JSON object.")]


def workload(name: Name, seed: Seed = None, limit: Limit = None, out: Out = None, json: Json = False) -> None:
    """Tell what a workload consists of: what its seed chose, how many requests of which sizes, and the best that prefix
    caches could do for it. Memory does not grow with the requests, only with the different prefix blocks (about 100
    bytes each, up to 20 million). With --out, write it as a trace.

    Exit status: 0 done, 2 a mistake in the workload.
    """
    try:
        work = open_workload(name, secrets.randbelow(1_000_000) if seed is None else seed)
        told = work.describe()
        census = Census()
        bound = prefix_bound(_passed(islice(work, limit), census, out))
    except (TraceError, ConfigError) as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    told |= {"counted": census.table(), "prefixes": msgspec.to_builtins(bound) | {"hit_share": bound.hit_share}}
    if json:
        typer.echo(msgspec.json.encode(told).decode(), err=out == "-")
    else:
        typer.echo("\n".join(_lines(told)), err=out == "-")


def _passed(requests: Iterable[Request], census: Census, out: str | None) -> Iterator[Request]:
    """The requests, counted and written on their way."""
    written: list[Request] = []
    with _open(out) as file:
        write = _writer(out, file)
        for request in requests:
            census.add(request)
            written.append(request)
            if len(written) == 1000:
                write(written)
                written.clear()
            yield request
        write(written)


def _open(out: str | None) -> Any:
    if out is None:
        return nullcontext()
    return nullcontext(sys.stdout.buffer) if out == "-" else Path(out).open("wb")


def _writer(out: str | None, file: IO[bytes] | None) -> Callable[[list[Request]], None]:
    if file is None:
        return lambda requests: None
    csv, begun = (out or "").endswith(".csv"), False

    def write(requests: list[Request]) -> None:
        nonlocal begun
        rows = to_csv(requests) if csv else to_json_lines(requests)
        file.writelines(islice(rows, 1, None) if csv and begun else rows)
        begun = True

    return write


def _lines(told: Any, indent: str = "") -> Iterator[str]:
    """Nested values for people, a field a line."""
    items = told.items() if isinstance(told, dict) else ((f"[{at}]", item) for at, item in enumerate(told))
    for name, value in items:
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif value is not None:
            yield f"{indent}{name}: {f'{value:,.6g}' if isinstance(value, float) else value}"
