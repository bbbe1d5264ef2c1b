"""`penstock top`, as it is called without a terminal, and what its keys do."""

import json
from contextlib import closing

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.admin import Admin, AdminError
from penstock.cli.top import Watch, top
from tests.helpers.desk import desk, metrics, pages, pool_view, replica_view

app = typer.Typer()
app.command()(top)


def run(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(app, list(words), env={"TERM": "dumb"})
    return result.exit_code, result.stdout, result.stderr


def test_once_is_a_page() -> None:
    """One interval's numbers as plain text."""
    with desk() as at:
        pages(at, [replica_view()], [pool_view()], metrics(ok=5))
        status, out, _ = run("--once", "--interval", "100ms", "--admin", at.url)
    assert status == 0
    assert out.startswith("penstock top  1/1 replicas well  in flight 2/8  queued 3")
    assert "gpu1" in out
    assert "0.0 req/s" in out


def test_json_is_an_object_a_look() -> None:
    """For programs: the look and its rates."""
    with desk() as at:
        pages(at, [replica_view()], [pool_view()], metrics(ok=5))
        status, out, _ = run("--once", "--json", "--interval", "100ms", "--admin", at.url)
    (line,) = out.splitlines()
    found = json.loads(line)
    assert (status, found["look"]["replicas"][0]["id"], found["rates"]["calls_per_s"]) == (0, "gpu1", 0.0)


@pytest.mark.parametrize(
    "words", [("--interval", "0s"), ("--interval", "x"), ("--sort", "age"), ("--admin", "ftp://x")]
)
def test_mistakes_are_told(words: tuple[str, str]) -> None:
    """Status 2, and which option it is."""
    status, _, err = run(*words)
    assert status == 2
    assert words[0] in err
    assert "Value error" not in err


def test_no_gateway_no_key_and_no_admin_api() -> None:
    """At the start these end it: 1 for nobody there, 2 for a key that is asked for, 1 for another server."""
    with desk() as at:
        at.pages["/admin/fleet"] = (401, "…", "unauthorized")
        assert run("--admin", at.url)[0] == 2
        pages(at, [], [], b"")
        at.pages["/admin/fleet"] = b"[{}]"
        status, _, err = run("--admin", at.url)
        assert (status, "cannot be read" in err) == (1, True)
        url = at.url
    status, _, err = run("--admin", url)
    assert (status, err.partition(": start")[0]) == (
        1,
        f"penstock top: no gateway answers at {url} (Connection refused)",
    )


def test_a_gateway_that_goes_is_waited_for() -> None:
    """What was seen stays on the screen with a word about it, until the gateway is back."""
    with desk() as at, closing(Admin(at.url)) as admin:
        pages(at, [replica_view()], [pool_view()], metrics(ok=5))
        watch = Watch(admin)
        watch.see()
        at.pages.pop("/admin/queues")
        watch.see_again()
        assert watch.screen().trouble.startswith("There is nothing.; for 0 s, trying again")
        assert [one.id for one in watch.screen().look.replicas] == ["gpu1"]
        pages(at, [replica_view()], [pool_view()], metrics(ok=9))
        watch.see_again()
        assert watch.screen().trouble == ""
        assert watch.rates is not None


def test_keys() -> None:
    """s turns to the next order, q and Ctrl-C end it, others do nothing."""
    watch = Watch(Admin("127.0.0.1:9"))
    assert [watch.press(key) for key in "sx"] == [False, False]
    assert watch.sort == "load"
    assert all(watch.press(key) for key in ("q", "Q", "\x03"))
    with pytest.raises(AdminError):
        watch.see()
    assert watch.screen().look.replicas == []
