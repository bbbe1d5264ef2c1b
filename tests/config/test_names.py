"""Names that point at names."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from penstock.config.schema import Settings
from tests.config.support import load_text, mistakes_of

OPEN = "pools: [{name: p, replicas: [{url: 'http://h:1'}]}]\n"
CLOSED = """\
pools:
  - {name: chat, models: [big, small], replicas: [{url: "http://h:1"}]}
  - {name: embed, replicas: [{url: "http://h:2", models: [bge]}]}
"""


def gate(text: str) -> Settings:
    """Settings over the closed fleet."""
    return load_text(CLOSED + text)


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("aliases: {gpt: bigg}", "aliases.gpt (line 4): there is no model 'bigg'; did you mean `big`?"),
        ("aliases: {gpt: zzz}", "aliases.gpt (line 4): there is no model 'zzz'; there are big, small, bge, gpt"),
        ("aliases: {a: a}", "aliases.a (line 4): it goes round in a circle (a -> a)"),
        ("fallback: {biig: [small]}", "fallback.biig (line 4): there is no model 'biig'; did you mean `big`?"),
        ("fallback: {big: [smal]}", "fallback.big[0] (line 4): there is no model 'smal'; did you mean `small`?"),
        ("fallback: {big: [big]}", "fallback.big (line 4): it goes round in a circle (big -> big)"),
        ("routes: [{pool: chatt}]", "routes[0].pool (line 4): there is no pool 'chatt'; did you mean `chat`?"),
        ("routes: [{pool: zzz}]", "routes[0].pool (line 4): there is no pool 'zzz'; the pools are chat, embed"),
        ("routes: [{pool: chat, model: bge}]", "routes[0].model (line 4): there is no model 'bge'; did you mean `big`?"),
        ("routes: [{pool: chat, path: v1}]", "routes[0].path (line 4): found 'v1', expected a path prefix, like /v1/embeddings; it begins with /"),
        ("routes: [{pool: chat, host: 'h:80'}]", "routes[0].host (line 4): found 'h:80', expected a host name without port, or *.example.com"),
        ("routes: [{pool: chat, host: 'a.*.b'}]", "routes[0].host (line 4): found 'a.*.b', expected a host name without port, or *.example.com"),
    ],
)  # fmt: skip
def test_names_that_point_nowhere_are_told(text: str, mistake: str) -> None:
    """Each such name, by its exact words."""
    assert mistakes_of(CLOSED + text) == [mistake]


@pytest.mark.parametrize(
    "text, circle",
    [
        ("aliases: {a: b, b: c, c: a}", "a -> b -> c -> a"),
        ("fallback: {big: [bge, small], small: [big]}", "big -> small -> big"),
        ("aliases: {a: big}\nfallback: {big: [small], small: [a]}", "big -> small -> big"),
    ],
)
def test_circles_are_told_with_their_way(text: str, circle: str) -> None:
    """A circle is shown from every name on it, and never followed for ever."""
    found = mistakes_of(CLOSED + text)
    assert f"it goes round in a circle ({circle})" in found[0]
    assert len(found) == (3 if " c" in circle else 2)


def test_aliases_are_followed_to_their_end() -> None:
    """The Gate sees served names only, wherever an alias was written."""
    settings = gate("aliases: {a: b, b: big}\nfallback: {a: [small]}\nroutes: [{pool: chat, path: /x, model: b}]")
    assert settings.gate.aliases == {"a": "big", "b": "big"}
    assert settings.gate.fallback == {"big": ("small",)}
    assert settings.gate.routes[0].model == "big"


def test_one_fallback_for_one_model() -> None:
    """An alias and its model cannot both have a fallback."""
    assert mistakes_of(CLOSED + "aliases: {a: big}\nfallback: {big: [small], a: [bge]}") == [
        "fallback.a (line 5): 'big' has its fallback already"
    ]


def test_names_are_believed_where_models_are_discovered() -> None:
    """A pool that takes whatever its engines list makes every name possible."""
    settings = load_text(OPEN + "aliases: {a: whatever}\nfallback: {x: [y]}\nroutes: [{pool: p, model: z}]")
    assert settings.gate.aliases == {"a": "whatever"}


def test_a_model_in_two_pools_needs_a_route() -> None:
    """The first pool takes the calls, so a second one without a route would never get any."""
    text = "pools: [{name: a, models: [m], replicas: [{url: 'http://h:1'}]}, {name: b, models: [m], replicas: [{url: 'http://h:2'}]}]\n"
    assert mistakes_of(text) == [
        "pools[1].models[0] (line 1): pool 'a' takes the calls of 'm', so none would come here; "
        "add a route to 'b', or move the replicas into one pool"
    ]
    assert load_text(text + "routes: [{pool: b, host: b.example.com}]").gate.routes[0].pool == "b"


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("", "pools: found none, expected at least one pool"),
        ("pools: []", "pools (line 1): found none, expected at least one pool"),
        ("pools: [{name: a}, {name: a}]", "pools[1].name (line 1): pools[0] is called 'a' already"),
        ("pools: [{name: a, models: [m, m]}]", "pools[0].models[1] (line 1): 'm' is in the list already"),
        ("pools: [{name: a, models: ['']}]", "pools[0].models[0] (line 1): found an empty name, expected a model's"),
    ],
)
def test_wrong_pools_are_told(text: str, mistake: str) -> None:
    """Pools have names of their own and models once."""
    assert mistakes_of(text) == [mistake]


@pytest.mark.parametrize(
    "text, warning",
    [
        ("aliases: {small: big}", "aliases.small: hides the model of the same name, which nobody can reach now"),
        ("routes: [{pool: chat}, {pool: embed, path: /x}]", "routes[1]: never reached, for routes[0] takes everything"),
    ],
)
def test_names_that_hide_names_are_warned_of(text: str, warning: str) -> None:
    """What cannot be reached is said."""
    assert gate(text).warnings == (warning,)


def test_a_pool_without_replicas_is_warned_of() -> None:
    """It may be filled at run time."""
    assert load_text("pools: [{name: a}]").warnings == ("pool a: it has no replicas until the admin API adds some",)
