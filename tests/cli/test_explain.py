"""`penstock explain`, as it is called, over an admin API that answers what a Gate remembers."""

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.explain import explain as command
from penstock.core.events import Began, Ended, Failed, Observed
from penstock.core.gate import Gate
from penstock.core.route.presets import Adaptive, WeightedRoundRobin
from penstock.core.spec import ExplainSpec
from penstock.telemetry.explain import explain, newest
from tests.core.playbook import arrived, fleet, gate, pool, stats, tell
from tests.helpers.desk import Desk, desk

app = typer.Typer()
app.command()(command)


def run(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "160", "TERM": "dumb", **(env or {})})
    return result.exit_code, result.stdout, result.stderr


def remembering() -> Gate:
    """A Gate that has sent c1 to b and then, when that failed, to a."""
    made = gate(pool(strategy=Adaptive()), explain=ExplainSpec())
    made.on(fleet("a", "b", max_concurrent_requests=10), 0.0)
    for name, usage in (("a", 0.5), ("b", 0.25)):
        made.on(Observed(name, stats(waiting=0, kv_usage=usage)), 0.5)
    made.on(arrived("c1", client_id="mine", tenant="acme", stream=True, prompt_tokens=100, max_tokens=50), 1.0)
    tell(made, Failed("c1", 1, "closed_early"), Began("c1", 2), now=1.25)
    made.on(Ended("c1", 2, 200), 2.0)
    return made


def filled(at: Desk) -> None:
    """The pages of such a gateway."""
    made = remembering()
    trail = made.trail("c1", 2.0)
    assert trail is not None
    for id in ("c1", "mine"):
        at.pages[f"/admin/explain/{id}"] = explain(trail)
    short: list[Any] = newest(made.trails(), 20)
    for query in ("?last=20", "?last=1", "?last=3&tenant=acme"):
        at.pages[f"/admin/explain{query}"] = short


def test_a_call_in_words_tables_and_times() -> None:
    """One paragraph, a table of candidates and scorers for each attempt, and the timeline."""
    with desk() as at:
        filled(at)
        status, out, _ = run("c1", "--admin", at.url)
    assert status == 0
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "c1 (the client's mine)"
    assert lines[1] == "m for acme, 1970-01-01 00:00:01 UTC: ok, status 200, 1.00 s, first byte after 250 ms"
    assert lines[2] == (
        "profile: about 100 prompt and 50 output tokens, complexity low, priority normal, tier standard, streamed"
    )
    assert "a got it because it was the only one that could take it. Left out: b (tried before)." in out
    assert "Attempt 1: b in main (adaptive, picker best)" in lines
    rows = [line.split() for line in lines]
    assert [
        "replica",
        "total",
        "load",
        "×",
        "0.3",
        "latency",
        "×",
        "0.3",
        "errors",
        "×",
        "0.2",
        "gpu",
        "×",
        "0.2",
    ] in rows
    assert ["→", "b", "0.950", "1.000", "1.000", "1.000", "0.750"] in rows
    assert ["a", "0.900", "1.000", "1.000", "1.000", "0.500"] in rows
    assert "Left out: b (tried before)" in lines
    assert "+250 ms  attempt 1 at b failed: closed_early" in out


def test_a_narrow_table_breaks_no_title() -> None:
    """Over a table that has no scorers, the line that says which attempt it is stands whole."""
    made = gate(pool(strategy=WeightedRoundRobin()), explain=ExplainSpec())
    made.on(fleet("a", "b"), 0.0)
    made.on(arrived("c1"), 1.0)
    tell(made, Began("c1", 1), now=1.25)
    made.on(Ended("c1", 1, 200), 2.0)
    trail = made.trail("c1", 2.0)
    assert trail is not None
    with desk() as at:
        at.pages["/admin/explain/c1"] = explain(trail)
        _, out, _ = run("c1", "--admin", at.url)
    assert "Attempt 1: a in main (weighted_round_robin, picker smooth_turns)" in [
        line.rstrip() for line in out.splitlines()
    ]


def test_the_clients_id_does_as_well() -> None:
    """Who chose an id himself asks by it."""
    with desk() as at:
        filled(at)
        assert run("mine", "--admin", at.url)[1].startswith("c1 (the client's mine)")


def test_last_and_lists() -> None:
    """--last explains the newest; no id lists calls, with filters."""
    with desk() as at:
        filled(at)
        assert run("--last", "--admin", at.url)[1].startswith("c1 (the client's mine)")
        status, out, _ = run("--admin", at.url)
        assert status == 0
        assert out.splitlines()[-2].split()[:6] == ["c1", "00:00:01", "m", "acme", "a", "ok"]
        run("-n", "3", "--tenant", "acme", "--admin", at.url)
        assert at.asked[-1][0] == "/admin/explain?last=3&tenant=acme"
        at.pages["/admin/explain?last=20"] = []
        assert "No call has ended yet" in run("--admin", at.url)[1]


def test_json_is_what_the_api_says() -> None:
    """For programs."""
    with desk() as at:
        filled(at)
        assert json.loads(run("c1", "--json", "--admin", at.url)[1])["choices"][1]["replica"] == "a"
        assert json.loads(run("--json", "--admin", at.url)[1])[0]["id"] == "c1"


@pytest.mark.parametrize(
    ("page", "status", "said"),
    [
        ((404, "No call with that id.", "unknown"), 1, "penstock explain: No call with that id."),
        ((410, "That call is forgotten.", "forgotten"), 1, "penstock explain: That call is forgotten."),
        ((401, "…", "unauthorized"), 2, "asks for its admin key: give --admin-key, or set PENSTOCK_ADMIN_KEY"),
        ({"id": 3}, 1, "in a form that this version does not know"),
    ],
)
def test_what_goes_wrong_is_told(page: Any, status: int, said: str) -> None:
    """On standard error, with an exit status that tells a mistake from a failure."""
    with desk() as at:
        at.pages["/admin/explain/c1"] = page
        found, out, err = run("c1", "--admin", at.url)
    assert (found, out) == (status, "")
    assert said in err


def test_mistakes_and_an_absent_gateway() -> None:
    """An id and a filter exclude each other; nobody at the address is status 1; the key may come by the environment."""
    assert run("c1", "--last")[0] == 2
    assert run("--last", "--admin", "ftp://x")[0] == 2
    with desk() as at:
        filled(at)
        run("c1", env={"PENSTOCK_ADMIN": at.url, "PENSTOCK_ADMIN_KEY": "secret"})
        assert at.asked == [("/admin/explain/c1", "Bearer secret")]
        at.pages["/admin/explain?last=1"] = []
        assert run("--last", "--admin", at.url)[0] == 1
        url = at.url
    status, _, err = run("c1", "--admin", url)
    assert (status, err.partition(": start")[0]) == (
        1,
        f"penstock explain: no gateway answers at {url} (Connection refused)",
    )
