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
        ("fallback: {big: [big]}", "fallback.big[0] (line 4): 'big' would fall back to itself"),
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


def test_circles_of_aliases_are_told_with_their_way() -> None:
    """A circle is shown from every name on it, and never followed for ever."""
    assert mistakes_of(CLOSED + "aliases: {a: b, b: c, c: a}") == [
        "aliases.a (line 4): it goes round in a circle (a -> b -> c -> a)",
        "aliases.b (line 4): it goes round in a circle (b -> c -> a -> b)",
        "aliases.c (line 4): it goes round in a circle (c -> a -> b -> c)",
    ]


def test_a_model_does_not_fall_back_to_itself() -> None:
    """Not under another name either."""
    assert mistakes_of(CLOSED + "aliases: {a: big}\nfallback: {big: [small, a]}") == [
        "fallback.big[1] (line 5): 'big' would fall back to itself"
    ]


def test_two_models_may_be_each_others_fallback() -> None:
    """The fallback of a fallback is not tried, so this is no circle."""
    assert gate("fallback: {big: [small], small: [big]}").gate.fallback == {"big": ("small",), "small": ("big",)}


def test_aliases_are_followed_to_their_end() -> None:
    """The Gate sees served names only, wherever an alias was written."""
    settings = gate(
        "aliases: {a: b, b: big, a2: bge}\nfallback: {big: [a2, small]}\nroutes: [{pool: chat, path: /x, model: b}]"
    )
    assert settings.gate.aliases == {"a": "big", "b": "big", "a2": "bge"}
    assert settings.gate.fallback == {"big": ("bge", "small")}
    assert settings.gate.routes[0].model == "big"


def test_an_alias_may_have_a_fallback_of_its_own() -> None:
    """It holds for calls by that name, beside the model's."""
    loaded = gate("aliases: {a: big}\nfallback: {big: [small], a: [bge]}")
    assert loaded.gate.fallback == {"big": ("small",), "a": ("bge",)}


def test_names_are_believed_where_models_are_discovered() -> None:
    """A pool that takes whatever its engines list makes every name possible."""
    settings = load_text(OPEN + "aliases: {a: whatever}\nfallback: {x: [y]}\nroutes: [{pool: p, model: z}]")
    assert settings.gate.aliases == {"a": "whatever"}


def test_a_model_may_stand_in_two_pools() -> None:
    """The second pool serves where the first cannot."""
    text = "pools: [{name: a, models: [m]}, {name: b, models: [m]}]"
    assert [pool.models for pool in load_text(text).gate.pools] == [("m",), ("m",)]


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


def test_splits_are_resolved_and_judged() -> None:
    """Aliases are followed, and their weights added; models that nobody serves, no weights and weights of 0 are told."""
    head = "pools: [{name: p, models: [m, n], replicas: [{url: 'http://h:1'}]}]\naliases: {big: m}\n"
    assert load_text(head + "splits: {ab: {big: 1, m: 2, n: 1}}").gate.splits == {"ab": {"m": 3.0, "n": 1.0}}
    assert mistakes_of(head + "splits: {ab: {m: 1, nn: 1}, none: {}, zero: {m: 0}}") == [
        "splits.zero.m (line 3): found the number 0, expected a number above 0",
        "splits.ab.nn (line 3): there is no model 'nn'; did you mean `n`?",
        "splits.none (line 3): found none, expected at least one name with its weight",
    ]
