"""The table of paths."""

from penstock.gateway.client.paths import ROUTES, find


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
