"""`penstock pressure`: the ten pressure tests in virtual time, a table, a page, and an exit status for a CI."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from hashlib import blake2b
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from penstock.base.errors import ConfigError
from penstock.cli.live import Live, Lived, chosen, lived, quicker
from penstock.cli.plain import plain_console
from penstock.config.costs import typed_cost
from penstock.config.load import load_file
from penstock.config.scenarios import Scenario, read_scenario
from penstock.config.workloads import reader
from penstock.sim.compare import Trial
from penstock.sim.drills import DRILLS, Drill, smaller
from penstock.sim.mistakes import MISTAKES
from penstock.sim.own import Own
from penstock.sim.pressure import Played, bounded, judge, play, with_head_room
from penstock.sim.pressure_report import NOTE, Finding, at_once, expected, page, shown, title_of
from penstock.workload.combine import Spec, Workload
from penstock.workload.request import Request

MISSED = 1
MATCHING = "matching"
"""In place of a mistake's name: each test with each mistake with which it must fail."""
QUICK_SEEDS = 2
AT_ONCE = "at once"
"""Variant: the fleet that is ordered with the first request."""

Only = Annotated[str | None, typer.Option(metavar="1,7,…", help="Only these tests, by number or name.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Seeds of each test; else 20, and 3 of the steady hour.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small size of each test, with two seeds: a minute or two.")]
MistakeName = Annotated[
    str | None,
    typer.Option(
        "--mistake", metavar="NAME",
        help=f"Play with a mistake: {', '.join(MISTAKES)}; or {MATCHING}: each test with those that it must find.",
    ),
]  # fmt: skip
Config = Annotated[
    Path | None,
    typer.Option(
        help="A gateway's own configuration: its first scaled pool (else its first pool), instead of the tests'."
    ),
]
Load = Annotated[float, typer.Option(min=0.001, help="With --config: so many times the tests' requests.")]
Cost = Annotated[
    str | None,
    typer.Option(help="With --config: what its engines are, as in `penstock simulate`; else the tests' own."),
]
Startup = Annotated[
    float | None, typer.Option(min=0, help="Seconds that a replica takes to start, instead of the tests'.")
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that play at once.")]
Bound = Annotated[
    bool,
    typer.Option(
        "--bound/--no-bound", help="Play each test also with the largest fleet, ordered with the first request."
    ),
]
Html = Annotated[Path | None, typer.Option("--html", help="Write a report with plots to this file.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON; -: to stdout.")]
Keep = Annotated[
    Path | None,
    typer.Option(
        help="Append each run to this file as it ends, and do not play again what stands there of the same test."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
IsLive = Annotated[
    bool,
    typer.Option(
        "--live", help="Against a real gateway with replicas as processes, those that fit a machine: 1, 2, 5, 6, 8."
    ),
]


class Job(Struct, frozen=True, kw_only=True):
    """One run that is to be played."""

    drill: int
    scenario: Scenario
    variant: str
    """A mistake's name; empty: none; or the fleet that is ordered at once."""
    seed: int
    pictures: bool

    def key(self) -> str:
        """Equal for equal runs."""
        text = msgspec.json.encode((self.scenario, self.variant, self.seed, self.pictures))
        return f"{self.drill}/{self.variant}/{self.seed}/{blake2b(text, digest_size=8).hexdigest()}"


class Done(Struct, frozen=True, kw_only=True):
    """A run that was played."""

    key: str
    cpu_s: float
    played: Played


class Asked(NamedTuple):
    """One line of what is asked for: a test, with or without a mistake."""

    drill: Drill
    scenario: Scenario
    mistake: str
    seeds: tuple[int, ...]
    bound: bool
    """Whether it is played also with the fleet that is ordered at once."""


def pressure(
    only: Only = None, seeds: Seeds = None, quick: Quick = False, mistake: MistakeName = None, config: Config = None,
    load: Load = 1.0, cost: Cost = None, startup: Startup = None, jobs: Jobs = 1, bound: Bound = True,
    html_file: Html = None, json: Json = None, keep: Keep = None, quiet: Quiet = False, is_live: IsLive = False,
) -> None:  # fmt: skip
    """Ten pressure tests of a fleet that scales itself, in virtual time: spike, dead replicas, runaway cost, a dark
    region, cold start, spot storm, oscillation, burst, a steady hour, a greedy tenant.

    Exit status: 0 all criteria hold with every seed (with --mistake matching: every mistake was found), 1 not all, 2 a
    mistake in what you gave.
    """
    if is_live:
        if mistake is not None or config is not None or html_file is not None or keep is not None:
            raise ConfigError(["--live goes with --only, --quick, --seeds and --json alone"])
        _lived(chosen(only), quick, seeds or 1, json)
        return
    own = None if config is None else Own(load_file(str(config), dict(os.environ)))
    change = _changed(own, load, cost, startup)
    drills, left_out = _fitting(_chosen(only), own)
    tests = [test for drill in drills for test in _tests(drill, seeds, quick, mistake, change, bound)]
    found = _play(tests, jobs, keep, quiet or json == "-" or not sys.stderr.isatty())
    head = [*_head(tests, quick, config, load), *left_out]
    if json == "-":
        sys.stdout.write(msgspec.json.encode({"head": head, "tests": found}).decode() + "\n")
    else:
        _print(head, found, mistake == MATCHING)
        if json is not None:
            Path(json).write_bytes(msgspec.json.encode({"head": head, "tests": found}) + b"\n")
    if html_file is not None:
        html_file.write_text(page(head, found), encoding="utf-8")
        typer.echo(f"report: {html_file}", err=True)
    if any(tested.passed == (mistake == MATCHING) for tested in found):
        raise typer.Exit(MISSED)


def _lived(tests: list[Live], quick: bool, seeds: int, json: str | None) -> None:
    found: list[Lived] = []
    for test in tests:
        for seed in range(1, seeds + 1):
            typer.echo(f"{test.number} {test.told}, seed {seed} ...", err=True)
            found.append(lived(quicker(test) if quick else test, seed))
    if json == "-":
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        plain_console().print(table_of(found))
        typer.echo(f"{sum(one.passed for one in found)} of {len(found)} passed")
        if json is not None:
            Path(json).write_bytes(msgspec.json.encode(found) + b"\n")
    if not all(one.passed for one in found):
        raise typer.Exit(MISSED)


def table_of(found: list[Lived]) -> Table:
    """What came out of live tests."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for name in ("criterion", "measured", "expected", ""):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for one in found:
        served = f", first fleet {one.capacity_rps:.1f}/s" if one.capacity_rps else ""
        table.add_row(f"{one.number} {one.told} ({one.requests:,} requests{served})")
        for verdict in one.verdicts:
            table.add_row(
                f"  {verdict.metric}", shown(verdict.metric, verdict.value), verdict.expected,
                "pass" if verdict.holds else "FAIL",
            )  # fmt: skip
    return table


# ===== what is asked for =====


def _chosen(only: str | None) -> list[Drill]:
    if only is None:
        return list(DRILLS)
    asked = [part.strip() for part in only.split(",")]
    known = {name: drill for drill in DRILLS for name in (str(drill.number), drill.name)}
    if unknown := [part for part in asked if part not in known]:
        names = ", ".join(f"{drill.number} {drill.name}" for drill in DRILLS)
        raise ConfigError([f"--only: {part!r} is none of the tests: there are {names}" for part in unknown])
    return [drill for drill in DRILLS if any(known[part] is drill for part in asked)]


def scenario_of(drill: Drill) -> Scenario:
    """The scenario of a test, as it is shipped."""
    text = files("penstock.sim").joinpath("scenarios", drill.file).read_text("utf-8")
    return read_scenario(text, drill.file)


def _fitting(drills: list[Drill], own: Own | None) -> tuple[list[Drill], list[str]]:
    """Those that can be played, and why the others cannot."""
    if own is None:
        return drills, []
    reasons = {drill.number: own.why_not(scenario_of(drill)) for drill in drills}
    told = [
        f"{drill.number} {drill.told}: not played; {reasons[drill.number]}."
        for drill in drills
        if reasons[drill.number]
    ]
    return [drill for drill in drills if not reasons[drill.number]], told


def _changed(
    own: Own | None, load: float, cost: str | None, startup: float | None
) -> Callable[[Scenario], Scenario]:  # fmt: skip
    if own is None and (load != 1.0 or cost is not None):
        raise ConfigError(["--load and --cost go with --config FILE"])
    engine = None if cost is None else typed_cost(cost, Path())

    def change(scenario: Scenario) -> Scenario:
        changed = scenario if own is None else own.scenario(scenario, load)
        groups = changed.fleet
        if engine is not None:
            groups = tuple(msgspec.structs.replace(group, cost=engine) for group in groups)
        if startup is not None:
            groups = tuple(
                msgspec.structs.replace(group, startup_s=startup if group.startup_s else 0.0) for group in groups
            )
        return msgspec.structs.replace(changed, fleet=groups)

    return change


def _tests(
    drill: Drill, seeds: int | None, quick: bool, mistake: str | None, change: Callable[[Scenario], Scenario],
    bound: bool,
) -> Iterator[Asked]:  # fmt: skip
    if mistake is not None and mistake not in (MATCHING, *MISTAKES):
        raise ConfigError([f"--mistake: {mistake!r} is none: there are {', '.join(MISTAKES)}, and {MATCHING}"])
    scenario = change(scenario_of(drill))
    if quick:
        scenario = smaller(scenario, drill.smaller, drill.shorter_s)
    numbers = tuple(range(1, 1 + (seeds or (QUICK_SEEDS if quick else drill.seeds))))
    for name in drill.mistakes if mistake == MATCHING else (mistake or "",):
        yield Asked(drill, scenario, name, numbers, bound and not name and scenario.scale is not None)


# ===== runs =====


def _requests(workload: Spec, seed: int) -> Iterator[Request]:
    return iter(Workload(workload, seed, reader(Path())))


def _trial(job: Job) -> Trial:
    if job.variant == AT_ONCE:
        return bounded(job.scenario)
    if job.variant:
        return MISTAKES[job.variant].trial(job.scenario)
    return Trial(job.scenario, job.scenario.policy)


def _work(job: Job) -> Done:
    began = time.process_time()
    played = play(_trial(job), _requests, job.seed, job.pictures)
    return Done(key=job.key(), cpu_s=time.process_time() - began, played=played)


def _jobs(test: Asked) -> list[Job]:
    drill, scenario, mistake, seeds, bound = test
    runs = [
        Job(drill=drill.number, scenario=scenario, variant=mistake, seed=seed, pictures=seed == seeds[0])
        for seed in seeds
    ]
    if bound:
        runs.append(Job(drill=drill.number, scenario=scenario, variant=AT_ONCE, seed=seeds[0], pictures=False))
    return runs


def _play(tests: list[Asked], jobs: int, keep: Path | None, quiet: bool) -> list[Finding]:
    wanted = [job for test in tests for job in _jobs(test)]
    known = {} if keep is None or not keep.exists() else _kept(keep)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} runs"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet) as progress:
        bar = progress.add_task("under pressure", total=len(wanted))
        missing = [job for job in wanted if job.key() not in known]
        progress.advance(bar, len(wanted) - len(missing))
        for done in _each(missing, jobs):
            known[done.key] = done
            progress.advance(bar)
            if keep is not None:
                with keep.open("ab") as file:
                    file.write(msgspec.json.encode(done) + b"\n")
        return [_tested(test, known) for test in tests]


def _kept(keep: Path) -> dict[str, Done]:
    try:
        lines = [msgspec.json.decode(line, type=Done) for line in keep.read_bytes().splitlines()]
    except msgspec.MsgspecError as error:
        raise ConfigError([f"--keep: {keep} holds something else: {error}"]) from None
    return {done.key: done for done in lines}


def _each(jobs: list[Job], processes: int) -> Iterator[Done]:
    if processes == 1 or len(jobs) < 2:
        yield from map(_work, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures: list[Future[Done]] = [pool.submit(_work, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()


def _tested(test: Asked, known: dict[str, Done]) -> Finding:
    drill, scenario, mistake, seeds, _ = test
    mine = [(job, known[job.key()]) for job in _jobs(test)]
    runs = [done.played for job, done in mine if job.variant == mistake]
    bound = next((done.played for job, done in mine if job.variant == AT_ONCE), None)
    criteria = [with_head_room(scenario, one, _requests, seeds[0]) for one in judge(scenario, runs, bound)]
    return Finding(
        number=drill.number, name=drill.name, told=drill.told, mistake=mistake,
        requests=sum(run.numbers["requests"] for run in runs) / len(runs), criteria=criteria, runs=runs, bound=bound,
        cpu_s=sum(done.cpu_s for _, done in mine),
    )  # fmt: skip


# ===== what is told =====


def _head(tests: list[Asked], quick: bool, config: Path | None, load: float) -> list[str]:
    size = "a small size of each test" if quick else "full size"
    lines = [f"Virtual time, {size}. {NOTE}"]
    if config is not None:
        lines.append(f"Fleet and policy: {config.name}; {load:g} times the tests' requests.")
    if any(test.mistake for test in tests):
        names = dict.fromkeys(test.mistake for test in tests)
        lines += [f"{name}: {MISTAKES[name].told}." for name in names if name]
    return lines


def _print(head: list[str], found: list[Finding], matching: bool) -> None:
    console = plain_console()
    for line in head:
        console.print(line, soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for name in ("criterion", "measured", "worst seed", "expected", "seeds", "", "at once"):
        table.add_column(name, justify="left" if name in ("criterion", "expected", "at once") else "right")
    for tested in found:
        table.add_row(f"{title_of(tested)} ({tested.requests:,.0f} requests)")
        for one in tested.criteria:
            table.add_row(
                f"  {one.metric}", shown(one.metric, one.mean), shown(one.metric, one.worst), expected(one),
                f"{one.held}/{one.seeds}", "pass" if one.holds else "FAIL", at_once(one),
            )  # fmt: skip
    console.print(table)
    passed = sum(tested.passed for tested in found)
    if matching:
        console.print(
            f"{len(found) - passed} of {len(found)} mistakes were found: a test that passes with one is no test"
        )
    else:
        console.print(f"{passed} of {len(found)} passed")
