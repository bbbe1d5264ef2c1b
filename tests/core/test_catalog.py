"""Which pool serves what a client asks for: every way a name, a host or a path can lead."""

from typing import Any

import pytest

from penstock.core.catalog import Catalog, Target, rule_matches
from penstock.core.spec import GateSpec, RouteRule
from tests.core.playbook import call, pool


def catalog(
    *names: tuple[str, tuple[str, ...]], listed: dict[str, tuple[str, ...]] | None = None, **fields: Any
) -> Catalog:
    """A catalog of pools, each with the models it names."""
    return Catalog(GateSpec(pools=tuple(pool(name, models=models) for name, models in names), **fields), listed or {})


@pytest.mark.parametrize(
    ("host", "path", "asked_host", "asked_path", "matches"),
    [
        (None, None, "any", "/", True),
        ("a.example", None, "a.example", "/", True),
        ("a.example", None, "A.Example:8080", "/", True),
        ("A.example", None, "a.example", "/", True),
        ("a.example", None, "b.a.example", "/", False),
        ("*.a.example", None, "b.a.example:1", "/", True),
        ("*.a.example", None, "a.example", "/", False),
        ("*.a.example", None, "ba.example", "/", False),
        ("[::1]", None, "[::1]", "/", True),
        ("[::1]", None, "[::1]:8080", "/", True),
        ("[::1]", None, "[::2]:8080", "/", False),
        (None, "/v1/emb", "x", "/v1/embeddings", True),
        (None, "/v1/emb", "x", "/v1/chat", False),
        ("a.example", "/v1", "a.example", "/v2", False),
        ("a.example", "/v1", "", "/v1", False),
    ],
)
def test_rules_match_host_and_path(
    host: str | None, path: str | None, asked_host: str, asked_path: str, matches: bool
) -> None:
    """Hosts in any case and with or without a port, `*.` for what stands below, paths by prefix."""
    assert rule_matches(RouteRule(pool="p", host=host, path=path), asked_host, asked_path) is matches


def test_a_model_leads_to_every_pool_that_serves_it_in_the_files_order() -> None:
    """Several pools may serve one model: the first in the file is preferred."""
    made = catalog(("p", ("m", "n")), ("q", ("m",)))
    assert made.targets(call()) == (Target("p", "m"), Target("q", "m"))
    assert made.targets(call(model="n")) == (Target("p", "n"),)
    assert made.targets(call(model="zz")) == ()
    assert made.serves("m")
    assert not made.serves("zz")


def test_aliases_may_lead_to_aliases_but_not_in_circles() -> None:
    """A chain of aliases is followed; a circle ends nowhere instead of never."""
    made = catalog(("p", ("m",)), aliases={"a": "b", "b": "m", "x": "y", "y": "x"})
    assert made.targets(call(model="a")) == (Target("p", "m"),)
    assert made.targets(call(model="x")) == ()


def test_fallbacks_follow_the_model_in_their_order_without_repetition() -> None:
    """A model's chain is itself, then its fallbacks, each place once; aliases have their model's chain."""
    made = catalog(
        ("p", ("m",)), ("q", ("n", "o")), aliases={"a": "m", "b": "o"}, fallback={"m": ("n", "b", "m", "zz")}
    )  # fmt: skip
    chain = (Target("p", "m"), Target("q", "n"), Target("q", "o"))
    assert made.targets(call()) == chain
    assert made.targets(call(model="a")) == chain


def test_an_alias_may_have_a_chain_of_its_own() -> None:
    """A fallback written for the alias holds for the alias only."""
    made = catalog(("p", ("m", "n", "o")), aliases={"a": "m"}, fallback={"m": ("n",), "a": ("o",)})
    assert [target.model for target in made.targets(call(model="a"))] == ["m", "o"]
    assert [target.model for target in made.targets(call(model="m"))] == ["m", "n"]


def test_a_fallback_may_serve_a_name_that_nobody_serves() -> None:
    """A name that exists only as the head of a chain is offered and served by the rest of it."""
    made = catalog(("p", ("n",)), fallback={"retired": ("n",)})
    assert made.targets(call(model="retired")) == (Target("p", "n"),)
    assert made.models() == ["n", "retired"]


def test_pools_that_list_their_models_serve_what_they_list() -> None:
    """Discovered names are known names; an unheard one may still be listed by a pool that is not settled."""
    made = catalog(("p", ("m",)), ("q", ()), ("r", ()), listed={"q": ("x", "m")})
    assert made.models() == ["m", "x"]
    assert made.targets(call()) == (Target("p", "m"), Target("q", "m"))
    assert made.targets(call(model="x")) == (Target("q", "x"),)
    assert made.targets(call(model="new")) == (Target("q", "new"), Target("r", "new"))


def test_settled_pools_serve_nothing_but_what_they_list() -> None:
    """Where all replicas have spoken an unheard name does not exist, nor an alias of one."""
    spec = GateSpec(pools=(pool("q", models=()),), aliases={"a": "new"})
    made = Catalog(spec, {"q": ("x",)}, ["q"])
    assert made.targets(call(model="new")) == made.targets(call(model="a")) == ()
    assert made.targets(call(model="x")) == (Target("q", "x"),)


def test_the_first_rule_that_matches_holds() -> None:
    """A rule names the pool, and may name the model; its pool has to serve it."""
    rules = (
        RouteRule(pool="q", path="/v1/embeddings"),
        RouteRule(pool="p", path="/v1", model="a"),
        RouteRule(pool="r"),
    )
    made = catalog(("p", ("m", "n")), ("q", ("e",)), ("r", ()), aliases={"a": "n"}, routes=rules)
    assert made.targets(call(path="/v1/embeddings", model="")) == (Target("q", "e"),)
    assert made.targets(call(path="/v1/embeddings", model="m")) == ()
    assert made.targets(call(path="/v1/chat", model="m")) == (Target("p", "n"),)
    assert made.targets(call(path="/other", model="whatever")) == (Target("r", "whatever"),)


def test_no_model_is_enough_where_there_is_one_pool_with_one_model() -> None:
    """Without a model only an unambiguous house can serve."""
    assert catalog(("p", ("m",))).targets(call(model="")) == (Target("p", "m"),)
    assert catalog(("p", ())).targets(call(model="")) == (Target("p", ""),)
    assert catalog(("p", ("m", "n"))).targets(call(model="")) == ()
    assert catalog(("p", ("m",)), ("q", ("n",))).targets(call(model="")) == ()


def shares(made: Catalog, count: int = 4000, **fields: Any) -> dict[str, float]:
    """The share of calls that each model gets."""
    drawn = [made.targets(call(f"c{n}", **fields))[0].model for n in range(count)]
    return {name: drawn.count(name) / count for name in dict.fromkeys(sorted(drawn))}


def test_a_split_shares_calls_by_weight() -> None:
    """A canary gets its five of a hundred; the name itself may be one of those that share, or stand for others only."""
    made = catalog(("p", ("m", "canary")), splits={"m": {"m": 95, "canary": 5}, "ab": {"m": 1, "canary": 1}})
    assert shares(made) == {"canary": pytest.approx(0.05, abs=0.01), "m": pytest.approx(0.95, abs=0.01)}
    assert shares(made, model="ab")["m"] == pytest.approx(0.5, abs=0.03)
    assert shares(made, model="canary") == {"canary": 1.0}
    assert made.models() == ["ab", "canary", "m"]


def test_a_split_keeps_sessions_and_users_together() -> None:
    """All calls of one session, or of one user, draw the same; other ones may draw otherwise."""
    made = catalog(("p", ("m", "n")), splits={"ab": {"m": 1, "n": 1}})
    for who in ("session", "user"):
        firsts = []
        for number in range(40):
            (only,) = shares(made, 5, model="ab", **{who: f"x{number}"})
            firsts.append(only)
        assert {"m", "n"} == set(firsts)


def test_a_call_draws_once() -> None:
    """Asked again, after a reload of the catalog, it goes where it went; splits of other names draw for themselves."""
    spec = {"ab": {"m": 1.0, "n": 1.0}, "cd": {"m": 1.0, "n": 1.0}}
    one, other = (catalog(("p", ("m", "n")), splits=spec) for _ in range(2))
    asked = [call(f"c{number}", model="ab") for number in range(200)]
    drawn = [one.targets(each) for each in asked]
    assert [other.targets(each) for each in asked] == drawn
    assert [other.targets(call(each.id, model="cd")) for each in asked] != drawn


def test_what_a_split_draws_has_its_own_fallback_and_its_rule() -> None:
    """The drawn name's chain holds; a rule by path or host sends it to the rule's pool."""
    made = catalog(
        ("p", ("m",)), ("q", ("m", "n")), splits={"ab": {"n": 1.0}}, fallback={"n": ("m",)},
        routes=(RouteRule(pool="q", path="/only"),),
    )  # fmt: skip
    assert made.targets(call(model="ab")) == (Target("q", "n"), Target("p", "m"), Target("q", "m"))
    assert made.targets(call(model="ab", path="/only/this")) == (Target("q", "n"),)
