"""`penstock simulate`: a scenario file into runs, a progress bar, a table, a report."""

import os
import sys
from collections.abc import Callable, Iterator
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
from penstock.cli.plain import WIDE_WIDTH, plain_console
from penstock.cli.recorded import described, open_recorded, replay_journal
from penstock.config.costs import typed_cost
from penstock.config.mistakes import did_you_mean
from penstock.config.scenarios import MOST_GATEWAYS, Gateways, Policy, Scenario, open_scenario, policy_from, policy_of
from penstock.config.workloads import reader
from penstock.core.route.presets import STRATEGIES, Strategy
from penstock.engine.perf import PRESETS
from penstock.sim import engine_costs, engines
from penstock.sim.compare import Comparison, Trial, Verdict, beside, best, compare, unknown, verdicts
from penstock.sim.opponents import MARK, TOLD, opposed, split
from penstock.sim.oracle import with_yardsticks
from penstock.sim.recorded import Recorded
from penstock.sim.reference import markdown
from penstock.sim.replay import NotReplayable
from penstock.sim.report import BESIDE, ROWS, SHY, beside_cells, html, model_rows, names, shown_number, what_if_cells
from penstock.sim.what_if import HEADS, Option, answer, options
from penstock.workload.combine import Trace, Workload
from penstock.workload.lines import TraceError
from penstock.workload.request import Request

MISTAKE, MISSED = 2, 1
MOST_COLUMNS = 8
"""Of the table in a terminal, where another one tells the answer; a page has room for more."""
MEASURED, AS_IT_WAS = "measured", "as it was"
"""Columns of a journal: what really happened, and the same traffic simulated under the policy that it had."""

File = Annotated[
    Path | None, typer.Argument(help="The scenario, YAML; not needed with --from-journal.", show_default=False)
]
Strategies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help=f"Compare these, else the scenario's own: {', '.join(STRATEGIES.names())}; {TOLD}.",
    ),
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
SeveralGateways = Annotated[
    str | None,
    typer.Option(
        "--gateways", metavar="1,2,…", help="Try each with so many gateways, which do not see each other's calls."
    ),
]
FromJournal = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A gateway's journal: replay it exactly; with --what-if, --strategies or --replicas simulate its traffic.",
    ),
]
WhatIf = Annotated[
    list[Path] | None,
    typer.Option("--what-if", metavar="CONFIG", help="A gateway's own configuration under which it comes; repeatable."),
]
Cost = Annotated[
    str | None,
    typer.Option(
        help="What the recorded fleet's engines are, where no scenario says it:"
        f" {', '.join(PRESETS)}, '{{model: llama-3.1-8b, gpu: h100}}' or '{{file: CALIBRATION}}'."
    ),
]
Seeds = Annotated[str | None, typer.Option(metavar="1,2,…", help="Instead of the scenario's.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots to this file.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON; -: to stdout.")]
Oracle = Annotated[
    bool, typer.Option("--oracle", help="Beside them: who knows how long answers will be, and what nobody can beat.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def _print_reference(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(markdown())
        raise typer.Exit


def _print_engines(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(engine_costs.markdown())
        raise typer.Exit


Engines = Annotated[
    bool,
    typer.Option(
        "--engines",
        is_eager=True,
        callback=_print_engines,
        help="Print the page of built-in GPUs and models, Markdown.",
    ),
]
Reference = Annotated[
    bool,
    typer.Option(
        "--reference", is_eager=True, callback=_print_reference, help="Print the scenario reference page, Markdown."
    ),
]


def simulate(
    file: File = None, strategies: Strategies = None, compare_with: Compare = None, replicas: Replicas = None,
    gateways: SeveralGateways = None, from_journal: FromJournal = None, what_if: WhatIf = None, cost: Cost = None,
    seeds: Seeds = None, html_file: Html = None, json: Json = None, oracle: Oracle = False, quiet: Quiet = False,
    reference: Reference = False, engine_page: Engines = False,
) -> None:  # fmt: skip
    """Try policies on a workload in virtual time: the gateway's own decisions over modelled engines.

    Every policy meets the same requests with the same luck. Exit status: 0 done, 1 something that the scenario expects
    did not come out (or a journal's orders did not come out again), 2 a mistake in what you gave.
    """
    if from_journal is not None and not (
        file or what_if or strategies or replicas or gateways or compare_with or oracle
    ):
        replay_journal(from_journal, json)
        return
    recorded = None if from_journal is None else open_recorded(from_journal)
    scenario = _scenario(file, recorded, cost, what_if)
    source = file if from_journal is None else from_journal
    assert source is not None
    if seeds is not None:
        scenario = replace(scenario, seeds=_whole_numbers("--seeds", seeds))
    if mistakes := unknown(scenario.expect):
        raise ConfigError(mistakes)
    strategies, opponents = split(strategies)
    policies = _policies(scenario, strategies, [*(what_if or []), *(compare_with or [])])
    if recorded is not None:
        tried = policies if strategies or what_if or compare_with else {}
        policies = {AS_IT_WAS: scenario.policy, **{name: replace(each, limits=None) for name, each in tried.items()}}
    trials = _by_gateways(_trials(scenario, policies, replicas), gateways)
    trials |= opposed(trials, opponents)
    try:
        requests = _workload(scenario, source.parent) if recorded is None else recorded.requests
        comparison = _run(scenario, trials, requests, oracle, quiet or json == "-" or not sys.stderr.isatty())
    except TraceError as error:
        raise ConfigError([str(error)]) from None
    told = _told(scenario, trials, source, recorded is not None)
    if recorded is not None:
        comparison = beside(recorded.measured(scenario.slo), MEASURED, comparison)
        told = [*described(source, recorded), *told]
    found = [it for it in verdicts(comparison, scenario.expect) if not it.policy.startswith(MARK)]
    if json is not None:
        _write_json(json, comparison, found)
    if json != "-":
        _print(told, comparison, found)
    if html_file is not None:
        html_file.write_text(html(f"Penstock: {source.stem}", told, comparison, found), encoding="utf-8")
        typer.echo(f"report: {html_file}", err=True)
    if not all(verdict.holds for verdict in found):
        raise typer.Exit(MISSED)


def _scenario(file: Path | None, recorded: Recorded | None, cost: str | None, what_if: list[Path] | None) -> Scenario:
    """What is tried over what: the file's, or the recorded fleet. With a journal its policy is the recorded one."""
    if recorded is None and (cost is not None or what_if):
        raise ConfigError(["--what-if and --cost go with --from-journal FILE"])
    if recorded is None or file is not None:
        if file is None:
            raise ConfigError(["give a scenario, or --from-journal FILE"])
        if cost is not None:
            raise ConfigError(["--cost: the scenario's fleet says how long its steps take"])
        scenario = open_scenario(str(file))
        return scenario if recorded is None else replace(scenario, policy=policy_from(recorded.pool))
    if cost is None:
        raise ConfigError(["give --cost, or a scenario: nothing in a journal says how long engines' steps take"])
    try:
        fleet = recorded.groups(typed_cost(cost, Path()))
    except (ValueError, NotReplayable) as error:
        raise ConfigError([f"--cost: {error}"]) from None
    return Scenario(workload=Trace(file="journal"), fleet=fleet, policy=policy_from(recorded.pool))


def _workload(scenario: Scenario, folder: Path) -> Callable[[int], Iterator[Request]]:
    def requests(seed: int) -> Iterator[Request]:
        return iter(Workload(scenario.workload, seed, reader(folder)))

    return requests


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
    return found or {own: scenario.policy, **scenario.variants}


def _strategy(name: str) -> Strategy:
    if name not in STRATEGIES.names():
        hint = did_you_mean(name, STRATEGIES.names()) or f"there are {', '.join(STRATEGIES.names())}"
        raise ConfigError([f"--strategies: {name!r} is none: {hint}"])
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


def _by_gateways(trials: dict[str, Trial], gateways: str | None) -> dict[str, Trial]:
    """The same with each number of gateways; what the scenario says of several holds for each."""
    if gateways is None:
        return trials
    found: dict[str, Trial] = {}
    for count in _whole_numbers("--gateways", gateways):
        if not 1 <= count <= MOST_GATEWAYS:
            raise ConfigError([f"--gateways: {count}: expected numbers from 1 to {MOST_GATEWAYS}"])
        for name, trial in trials.items():
            several = replace(trial.scenario.gateways or Gateways(), count=count) if count > 1 else None
            try:
                scenario = replace(trial.scenario, gateways=several)
            except ValueError as error:  # a fleet that scales itself
                raise ConfigError([f"--gateways: {count}: {error}"]) from None
            found[f"{name}, {count} gateway{'s' if several else ''}"] = trial._replace(scenario=scenario)
    return found


def _run(
    scenario: Scenario, trials: dict[str, Trial], requests: Callable[[int], Iterator[Request]], oracle: bool,
    quiet: bool,
) -> Comparison:  # fmt: skip
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} runs"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("simulating", total=len(trials) * len(scenario.seeds))
        found = compare(trials, scenario.seeds, requests, lambda name, seed: progress.advance(task))
        return with_yardsticks(found, trials, requests) if oracle else found


def _told(scenario: Scenario, trials: dict[str, Trial], file: Path, recorded: bool) -> list[str]:
    fleets = list(dict.fromkeys(trial.scenario.fleet for trial in trials.values()))
    kinds = engines.fleets_told(fleets)
    seeds = ", ".join(map(str, scenario.seeds))
    workload = "recorded" if recorded else str(scenario.workload.__struct_config__.tag)
    return [
        f"{file.name}: workload {workload}; replicas: {kinds}; {len(scenario.faults)} faults; seeds {seeds}.",
        f"A good answer: TTFT within {scenario.slo.ttft_s:g} s and {scenario.slo.per_token_s:g} s per further token.",
        *engines.told(group for fleet in fleets for group in fleet),
    ]


def _print(told: list[str], comparison: Comparison, found: list[Verdict]) -> None:
    console = plain_console(WIDE_WIDTH)
    for line in told:
        console.print(line, soft_wrap=True)
    what_if = options(comparison, found)
    if what_if:
        _print_what_if(console, what_if)
    several = len(comparison.columns) > 1
    if not what_if or len(comparison.columns) <= MOST_COLUMNS:
        _print_numbers(console, comparison)
    else:
        console.print("All other numbers are in the page (--html) and the JSON (--json).")
    if several and not (what_if and len(comparison.columns) > MOST_COLUMNS):
        console.print("* the best of its row, with those that the seeds cannot tell from it; none where all are alike")
    if len(comparison.seeds) > 1:
        console.print(f"means over {len(comparison.seeds)} seeds ± half of the 95 % interval")
    if comparison.yardsticks:
        console.print(BESIDE)
    for verdict in [it for it in found if not (what_if and it.holds)]:  # the table has told who holds all
        word = "holds " if verdict.holds else "MISSED"
        console.print(f"{word} {verdict.policy}: {verdict.metric} {verdict.value:g}, expected {verdict.bound}")


def _table(heads: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    table.add_column("", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _print_what_if(console: Console, found: list[Option]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for at, head in enumerate(HEADS):
        table.add_column(head, justify="left" if at == 1 else "right")
    for option in found:
        table.add_row(*what_if_cells(option), option.verdict)
    console.print(table)
    console.print(answer(found), soft_wrap=True)


def _print_numbers(console: Console, comparison: Comparison) -> None:
    table = _table(names(comparison))
    for metric, name, kind in ROWS:
        if metric in SHY and not any(column.numbers[metric].mean for column in comparison.columns):
            continue
        winners = best(comparison, metric) if metric != "requests" else frozenset()
        cells = [
            shown_number(column.numbers[metric], kind) + (" *" if column.policy in winners else "")
            for column in comparison.columns
        ]
        table.add_row(name, *cells, *beside_cells(comparison, metric, kind))
    console.print(table)
    told = model_rows(comparison)
    if told:
        table = _table([column.policy for column in comparison.columns])
        for model, words, each in told:
            table.add_row(f"{model}: {words}", *each)
        console.print(table)


def _write_json(target: str, comparison: Comparison, found: list[Verdict]) -> None:
    text = msgspec.json.encode({"comparison": comparison, "expected": found})
    if target == "-":
        sys.stdout.write(text.decode() + "\n")
    else:
        Path(target).write_bytes(text + b"\n")
