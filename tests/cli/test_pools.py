"""`penstock pools` and `penstock explain --pool`, as they are called, over what a Governor says."""

import json
from io import StringIO

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

from penstock.cli.explain import explain
from penstock.cli.pools import lined_up, notes, pools
from penstock.core.scale.spec import PanicWindow, Schedule
from penstock.core.scale.spot import SpotSpec
from penstock.core.scale.view import ScaleStory
from penstock.core.scale.words import Noticed, Scaled
from tests.core.scale.pools import QUICK, World, unit
from tests.helpers.desk import Desk, desk

commands = typer.Typer()
commands.command()(pools)
commands.command()(explain)


def run(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(commands, list(words), env={"COLUMNS": "160", "TERM": "dumb"})
    return result.exit_code, result.stdout, result.stderr


def filled(at: Desk) -> None:
    """The pages of a gateway whose pool has grown, lost a replica, and would like more than it may."""
    world = World(QUICK)
    world.load = 90
    world.run(30)
    world.units["p-2"] = unit("p-2", "ended", detail="boom")
    world.run(4)
    views = world.governor.views(world.now)
    at.pages["/admin/pools"] = views
    for last in (10, 20, 50):
        entries = world.governor.history("p", last)
        assert entries is not None
        at.pages[f"/admin/pools/p?last={last}"] = ScaleStory(view=views[0], entries=entries)


def test_all_pools_in_a_table() -> None:
    """A line a pool: what it has, what it wants, its bounds, and its last decision with what bounded it."""
    with desk() as at:
        filled(at)
        status, out, _ = run("pools", "--admin", at.url)
    assert status == 0
    line = next(line for line in out.splitlines() if line.strip().startswith("p "))
    assert line.split()[:8] == ["p", "8", "0", "0", "8", "1-8", "0", "0"]
    assert "stays at 8: utilisation is 1.1 (target 0.7): wants 13; bounded by max 8" in " ".join(out.split())


def test_a_narrow_terminal_has_decisions_below() -> None:
    """At 80 columns the numbers stand whole in their columns, and what was decided below them, in whole lines."""
    world = World(QUICK)
    world.load = 90
    world.run(30)
    console = Console(width=80, file=StringIO())
    console.print(*lined_up(world.governor.views(world.now), console.width), sep="\n")
    assert isinstance(console.file, StringIO)
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    assert "pool ready coming leaving wanted min-max others waiting cost/h".split() in [line.split() for line in lines]
    assert any(line.startswith("p: stays at 8: utilisation is") for line in lines)


def test_what_is_unusual_stands_first() -> None:
    """A burst, a schedule that holds, and how much of a month's budget is spent, before the last decision."""
    everyday = Schedule(max=6)
    spec = replace(QUICK, panic=PanicWindow(), schedules=(everyday,), max_monthly_cost=800.0)
    world = World(spec, hourly_cost=1.0)
    world.load = 90
    view = world.run(30).governor.views(30.0)[0]
    assert notes(view) == ["a burst is met", "by schedule daily 00:00-24:00 UTC", "this month 0.05 of 800.00"]
    assert notes(replace(view, panic=False, schedule="", ration=2))[0] == "this month 0.05 of 800.00, enough for 2"
    with desk() as at:
        at.pages["/admin/pools"] = [view]
        status, out, _ = run("pools", "--admin", at.url)
    assert (status, "a burst is met; by schedule daily" in " ".join(out.split())) == (0, True)


def test_one_pool_with_its_replicas() -> None:
    """A pool's replicas with their states, and what happened of late, the newest first."""
    with desk() as at:
        filled(at)
        status, out, _ = run("pools", "p", "--admin", at.url)
    assert status == 0
    assert "p-9" in out
    assert "p-2 ready → stopping" in out
    assert "boom" in out


def test_why_a_pool_is_as_large_as_it_is() -> None:
    """`penstock explain --pool` tells every decision with its inputs."""
    with desk() as at:
        filled(at)
        status, out, _ = run("explain", "--pool", "p", "--count", "50", "--admin", at.url)
    assert status == 0
    told = " ".join(out.split())
    assert "1 → 5" in told
    assert "bounded by max 8, up" in told
    assert "queue 0/10 → 0; " in told


def test_json_is_the_admin_apis() -> None:
    """--json prints what the admin API says."""
    with desk() as at:
        filled(at)
        assert json.loads(run("pools", "--json", "--admin", at.url)[1])[0]["pool"] == "p"
        assert json.loads(run("explain", "--pool", "p", "--json", "--admin", at.url)[1])["view"]["wanted"] == 8


def test_spot_is_shown() -> None:
    """How each replica is paid for, which is taken back and when, and that spot cannot be had."""
    spot = SpotSpec(base=0.5, retry_s=60.0)
    world = World(msgspec.structs.replace(QUICK, min=2, spot=spot)).run(4)
    world.busy.add("p-2")
    world.tell(Noticed("p", "p-2", 120.0))
    world.tell(Scaled("p", "p-3", "no capacity"))
    views = world.governor.views(world.now)
    with desk() as at:
        at.pages["/admin/pools"] = views
        at.pages["/admin/pools/p?last=10"] = ScaleStory(view=views[0], entries=[])
        table = " ".join(run("pools", "--admin", at.url)[1].split())
        units = " ".join(run("pools", "p", "--admin", at.url)[1].split())
    assert "spot cannot be had, asked again in 60 s" in table
    assert "p-2 draining, taken back in 2 min" in units
    assert "on demand" in units


def test_no_pool_scales_itself() -> None:
    """Where none does, the way to it is told."""
    with desk() as at:
        at.pages["/admin/pools"] = []
        assert run("pools", "--admin", at.url) == (0, "No pool scales itself: give one a `scale` block.\n", "")


def test_what_cannot_be_had() -> None:
    """An unknown pool, a form that is not known, and options that do not go together have their exit status."""
    with desk() as at:
        at.pages["/admin/pools/x?last=10"] = (404, "there is no pool 'x' that scales itself", "not_found")
        at.pages["/admin/pools"] = [{"pool": 1}]
        status, _, err = run("pools", "x", "--admin", at.url)
        assert (status, err) == (1, "penstock pools: there is no pool 'x' that scales itself\n")
        assert run("pools", "--admin", at.url)[0] == 1
        assert run("explain", "--pool", "p", "--last", "--admin", at.url)[0] == 2
