"""The table of paths."""

import pytest

from penstock.gateway.client.paths import ROUTES, find, missing


def test_every_path_is_found_by_itself() -> None:
    """With and without a query."""
    for path, route in ROUTES.items():
        assert find(path) is route
        assert find(path + b"?a=/v1/models") is route


def test_nothing_else_exists() -> None:
    """Matching is exact: no dots, no doubled slashes, no escapes, no other case."""
    for path in (
        b"/", b"/v1", b"/v1/chat/completions/", b"//v1/chat/completions", b"/v1/../v1/chat/completions",
        b"/v1/chat%2fcompletions", b"/V1/chat/completions", b"/admin", b"/metrics", b"/v1/chat/completions;x",
    ):  # fmt: skip
        assert find(path) is None


@pytest.mark.parametrize(
    "asked",
    [b"/v1/v1/chat/completions", b"/v1/chat/completions/", b"//v1/chat/completions?a", b"/api/v1/chat/completions"],
)
def test_a_wrong_base_url_is_told_the_right_path(asked: bytes) -> None:
    """Where one that exists stands in it, however the slashes are."""
    path = asked.partition(b"?")[0].decode()
    assert missing(asked) == f"There is nothing at {path}; did you mean /v1/chat/completions?"


def test_any_other_path_is_named() -> None:
    """Cut to a decent length; what is long costs nothing."""
    assert missing(b"/x") == "There is nothing at /x. The endpoints of OpenAI's API are below /v1."
    assert len(missing(b"/" * 9000 + b"x/" * 9000)) < 300


@pytest.mark.parametrize("asked", [b"/metrics", b"/admin", b"/admin/fleet?x", b"/metrics/"])
def test_what_the_admin_port_has_is_said_to_be_there(asked: bytes) -> None:
    """Whoever asks the wrong port reads which is meant; its address is nobody's business here."""
    assert "have a port of their own, `admin` in the gateway's configuration" in missing(asked)
    assert "own" not in missing(b"/administration")


def test_who_asks_and_who_answers() -> None:
    """Pages of our own take GET, everything forwarded takes POST; only health and readiness need no key."""
    for route in ROUTES.values():
        assert route.method == ("GET" if route.local else "POST")
        assert route.open == (route.local in ("health", "ready"))


def test_one_model_can_be_asked_for() -> None:
    """The models page has a page per model, whose name may hold slashes."""
    route = find(b"/v1/models/org/name")
    assert route is not None
    assert route.local == "model"
