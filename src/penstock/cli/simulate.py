"""`penstock simulate`: a scenario file into runs, a progress bar, a table, a report."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock.base.errors import ConfigError
from penstock.config.scenarios import Policy, Scenario, open_scenario, policy_of
from penstock.config.workloads import reader
from penstock.core.route.presets import STRATEGIES, Strategy
from penstock.sim.compare import Comparison, Trial, Verdict, best, compare, unknown, verdicts
from penstock.sim.reference import markdown
from penstock.sim.report import ROWS, SHY, html, shown_number
from penstock.workload.combine import Workload
from penstock.workload.lines import TraceError
from penstock.workload.request import Request

MISTAKE, MISSED = 2, 1

File = Annotated[Path, typer.Argument(help="The scenario, YAML.", show_default=False)]
Strategies = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help=f"Compare these, else the scenario's own: {', '.join(STRATEGIES.names())}."),
]
Compare = Annotated[
    list[Path] | None,
    typer.Option(
        "--compare",
        metavar="CONFIG",
        help="A gateway's own configuration whose first pool's policy is tried; repeatable.",
    ),
]
Replicas = Annotated[
    str | None,
    typer.Option(metavar="2,3,…", help="Try each policy with so many replicas, where the fleet is one group."),
]
Seeds = Annotated[str | None, typer.Option(metavar="1,2,…", help="Instead of the scenario's.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots to this file.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON; -: to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def _print_reference(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(markdown())
        raise typer.Exit


Reference = Annotated[
    bool,
    typer.Option(
        "--reference", is_eager=True, callback=_print_reference, help="Print the scenario reference page, Markdown."
    ),
]


def simulate(
    file: File, strategies: Strategies = None, compare_with: Compare = None, replicas: Replicas = None,
    seeds: Seeds = None, html_file: Html = None, json: Json = None, quiet: Quiet = False, reference: Reference = False,
) -> None:  # fmt: skip
    """Try policies on a workload in virtual time: the gateway's own decisions over modelled engines.

    Every policy meets the same requests with the same luck. Exit status: 0 done, 1 something that the scenario expects
    did not come out, 2 a mistake in what you gave.
    """
    scenario = open_scenario(str(file))
    if seeds is not None:
        scenario = replace(scenario, seeds=_whole_numbers("--seeds", seeds))
    if mistakes := unknown(scenario.expect):
        raise ConfigError(mistakes)
    trials = _trials(scenario, _policies(scenario, strategies, compare_with or []), replicas)
    try:
        comparison = _run(scenario, trials, file.parent, quiet or json == "-" or not sys.stderr.isatty())
    except TraceError as error:
        raise ConfigError([str(error)]) from None
    found = list(verdicts(comparison, scenario.expect))
    told = _told(scenario, trials, file)
    if json is not None:
        _write_json(json, comparison, found)
    if json != "-":
        _print(told, comparison, found)
    if html_file is not None:
        html_file.write_text(html(f"Penstock: {file.stem}", told, comparison, found), encoding="utf-8")
        typer.echo(f"report: {html_file}", err=True)
    if not all(verdict.holds for verdict in found):
        raise typer.Exit(MISSED)


def _whole_numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError([f"{option}: {text!r}: expected whole numbers with commas between them"]) from None


def _policies(scenario: Scenario, strategies: str | None, files: list[Path]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    own = str(scenario.policy.strategy.__struct_config__.tag)
    for name in map(str.strip, strategies.split(",") if strategies else ()):
        found[name] = scenario.policy if name == own else replace(scenario.policy, strategy=_strategy(name))
    for path in files:
        found[path.stem if path.stem not in found else str(path)] = policy_of(str(path), dict(os.environ))
    return found or {own: scenario.policy}


def _strategy(name: str) -> Strategy:
    if name not in STRATEGIES.names():
        raise ConfigError([f"--strategies: {name!r} is none: there are {', '.join(STRATEGIES.names())}"])
    made: Strategy = STRATEGIES.spec(name)()  # type: ignore[assignment]
    return made


def _trials(scenario: Scenario, policies: dict[str, Policy], replicas: str | None) -> dict[str, Trial]:
    if replicas is None:
        return {name: Trial(scenario, policy) for name, policy in policies.items()}
    found: dict[str, Trial] = {}
    if len(scenario.fleet) != 1:
        raise ConfigError(["--replicas: the fleet has several groups: change their counts in the scenario"])
    for count in _whole_numbers("--replicas", replicas):
        if count < 1:
            raise ConfigError([f"--replicas: {count}: expected numbers from 1"])
        try:
            sized = replace(scenario, fleet=(replace(scenario.fleet[0], count=count),))
        except ValueError as error:  # a fault of a replica that there is not
            raise ConfigError([f"--replicas: {count}: {error}"]) from None
        found |= {f"{name} x{count}": Trial(sized, policy) for name, policy in policies.items()}
    return found


def _run(scenario: Scenario, trials: dict[str, Trial], folder: Path, quiet: bool) -> Comparison:
    def requests(seed: int) -> Iterator[Request]:
        return iter(Workload(scenario.workload, seed, reader(folder)))

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} runs"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("simulating", total=len(trials) * len(scenario.seeds))
        return compare(trials, scenario.seeds, requests, lambda name, seed: progress.advance(task))


def _told(scenario: Scenario, trials: dict[str, Trial], file: Path) -> list[str]:
    fleets = dict.fromkeys(trial.scenario.fleet for trial in trials.values())
    kinds = " or ".join(
        ", ".join(f"{group.count} × {group.cost} (speed {group.speed:g})" for group in fleet) for fleet in fleets
    )
    seeds = ", ".join(map(str, scenario.seeds))
    workload = str(scenario.workload.__struct_config__.tag)
    return [
        f"{file.name}: workload {workload}; replicas: {kinds}; {len(scenario.faults)} faults; seeds {seeds}.",
        f"A good answer: TTFT within {scenario.slo.ttft_s:g} s and {scenario.slo.per_token_s:g} s per further token.",
    ]


def _print(told: list[str], comparison: Comparison, found: list[Verdict]) -> None:
    width = None if sys.stdout.isatty() else 200
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    for line in told:
        console.print(line, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    table.add_column("", overflow="fold")
    for column in comparison.columns:
        table.add_column(column.policy, justify="right")
    several = len(comparison.columns) > 1
    for metric, name, kind in ROWS:
        if metric in SHY and not any(column.numbers[metric].mean for column in comparison.columns):
            continue
        winners = best(comparison, metric) if metric != "requests" else frozenset()
        cells = [
            shown_number(column.numbers[metric], kind) + (" *" if column.policy in winners else "")
            for column in comparison.columns
        ]
        table.add_row(name, *cells)
    console.print(table)
    if several:
        console.print("* the best of its row, with those that the seeds cannot tell from it; none where all are alike")
    if len(comparison.seeds) > 1:
        console.print(f"means over {len(comparison.seeds)} seeds ± half of the 95 % interval")
    for verdict in found:
        word = "holds " if verdict.holds else "MISSED"
        console.print(f"{word} {verdict.policy}: {verdict.metric} {verdict.value:g}, expected {verdict.bound}")


def _write_json(target: str, comparison: Comparison, found: list[Verdict]) -> None:
    text = msgspec.json.encode({"comparison": comparison, "expected": found})
    if target == "-":
        sys.stdout.write(text.decode() + "\n")
    else:
        Path(target).write_bytes(text + b"\n")
