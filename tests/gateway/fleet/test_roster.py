"""The roster: changes of the admin API and reloads of the file make one fleet, whatever their order."""

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.base.nouns import EngineAbout, Found, Replica
from penstock.config.schema import Access, Discovered, DnsConf, Settings
from penstock.core.spec import GateSpec, PoolSpec
from penstock.gateway.fleet.roster import Roster, RosterError, key_of, placed


def replica(id: str, pool: str = "p", seats: int = 8) -> Replica:
    """A replica."""
    return Replica(id=id, url=f"http://10.0.0.1/{id}", pool=pool, max_concurrent_requests=seats)


def settings(*ids: str, pools: tuple[str, ...] = ("p",)) -> Settings:
    """A file with these pools, and these replicas in pool p."""
    gate = GateSpec(pools=tuple(PoolSpec(name=name) for name in pools))
    return Settings(gate=gate, replicas=tuple(map(replica, ids)), access={id: Access(api_key=id) for id in ids})


class Told:
    """A roster, and what it announced last."""

    def __init__(self, *ids: str, most: int = 10_000) -> None:
        self.times = 0
        self.last = settings(*ids)
        self.roster = Roster(self.last, self._hear, most)

    def _hear(self, announced: Settings) -> None:
        self.times += 1
        self.last = announced

    @property
    def ids(self) -> list[str]:
        """Who should be in the fleet."""
        return [replica.id for replica in self.last.replicas]

    @property
    def draining(self) -> list[str]:
        """Who should take nothing new."""
        return [replica.id for replica in self.last.replicas if replica.drain]


def test_every_change_is_announced_whole() -> None:
    """Every change announces the whole fleet once, with what each replica is shown."""
    told = Told("a", "b")
    told.roster.add(replica("c"), Access(api_key="secret"))
    assert (told.ids, told.times) == (["a", "b", "c"], 1)
    assert told.last.access["c"].api_key == "secret"
    assert told.last.access["a"].api_key == "a"
    told.roster.drain("a")
    assert (told.draining, told.times) == (["a"], 2)
    told.roster.drain("a", False)
    assert (told.draining, told.times) == ([], 3)
    told.roster.remove("b")
    assert (told.ids, told.times) == (["a", "c"], 4)
    assert set(told.last.access) == {"a", "c"}


@pytest.mark.parametrize(
    "id, pool, status, words",
    [
        ("a", "p", 409, "in the fleet already"),
        ("c", "q", 404, "the pools are p"),
        ("c", "p", 409, "2 replicas already"),
    ],
)
def test_wishes_that_cannot_be_met(id: str, pool: str, status: int, words: str) -> None:
    """A taken id, an unknown pool and one replica too many are refused with their status, and announce nothing."""
    told = Told("a", "b", most=2)
    with pytest.raises(RosterError, match=words) as refused:
        told.roster.add(replica(id, pool), Access())
    assert (refused.value.status, told.times) == (status, 0)


@pytest.mark.parametrize("wish", ["drain", "remove"])
def test_unknown_replicas(wish: str) -> None:
    """Who is not in the fleet cannot be drained or removed."""
    told = Told("a")
    with pytest.raises(RosterError, match="no replica 'x'") as refused:
        getattr(told.roster, wish)("x")
    assert (refused.value.status, told.times) == (404, 0)


def test_changes_outlive_a_reload() -> None:
    """What the API added, drained or removed stays so when the file is read again; what the file dropped is gone."""
    told = Told("a", "b", "c")
    told.roster.add(replica("x"), Access())
    told.roster.drain("b")
    told.roster.remove("c")
    told.roster.configured(settings("b", "c", "d"))
    assert (told.ids, told.draining) == (["b", "d", "x"], ["b"])


def test_the_file_forgets() -> None:
    """A replica that left the file comes back without the drain and the removal of its earlier life."""
    told = Told("a", "b")
    told.roster.drain("a")
    told.roster.remove("b")
    told.roster.configured(settings())
    assert told.ids == []
    told.roster.configured(settings("a", "b"))
    assert (told.ids, told.draining) == (["a", "b"], [])


def test_removed_and_added_again_outlives_a_reload() -> None:
    """A replica of the file that was replaced by another of its id through the API stays replaced."""
    told = Told("a", "b")
    told.roster.remove("a")
    told.roster.add(replica("a", seats=99), Access(api_key="new"))
    told.roster.configured(settings("a", "b"))
    assert sorted(told.ids) == ["a", "b"]
    assert [known.max_concurrent_requests for known in told.last.replicas if known.id == "a"] == [99]
    assert told.last.access["a"].api_key == "new"
    told.roster.remove("a")
    assert told.ids == ["b"]


def test_the_file_takes_over() -> None:
    """A replica that the API added and the file then names is the file's from then on."""
    told = Told("a")
    told.roster.add(replica("b", seats=99), Access())
    told.roster.configured(settings("a", "b"))
    assert [known.max_concurrent_requests for known in told.last.replicas] == [8, 8]
    told.roster.configured(settings("a"))
    assert told.ids == ["a"]


def test_a_removed_replica_is_not_drained_when_added_again() -> None:
    """Removal ends a drain: who is added under the same id serves."""
    told = Told("a")
    told.roster.drain("a")
    told.roster.remove("a")
    told.roster.add(replica("a"), Access())
    assert (told.ids, told.draining) == (["a"], [])


def test_added_replicas_go_and_come_with_their_pool() -> None:
    """An added replica is no part of the fleet, and unknown, while its pool is not in the file."""
    told = Told("a")
    told.roster.add(replica("x"), Access())
    told.roster.configured(settings(pools=("q",)))
    assert told.ids == []
    with pytest.raises(RosterError, match="no replica 'x'"):
        told.roster.drain("x")
    told.roster.configured(settings("a"))
    assert told.ids == ["a", "x"]


def wished(roster: Roster, wish: str, id: str) -> None:
    """Say a wish."""
    if wish == "add":
        roster.add(replica(id), Access())
    elif wish == "remove":
        roster.remove(id)
    else:
        roster.drain(id, wish == "drain")


WISHES = st.tuples(st.sampled_from(["add", "drain", "undrain", "remove", "file"]), st.sampled_from("abcd"))


@profile(max_examples=40)
@given(st.lists(WISHES, max_size=15))
def test_any_wishes_make_a_sound_fleet(wishes: list[tuple[str, str]]) -> None:
    """After any wishes ids are unique, everybody has an access, and what was announced is what holds."""
    told = Told("a", "b")
    file = {"a", "b"}
    for wish, id in wishes:
        known = id in told.ids
        if wish == "file":
            file ^= {id}
            told.roster.configured(settings(*sorted(file)))
        elif known == (wish == "add"):
            with pytest.raises(RosterError):
                wished(told.roster, wish, id)
        else:
            wished(told.roster, wish, id)
            assert (id in told.ids) == (wish != "remove")
            assert (id in told.draining) == (wish == "drain")
        assert len(set(told.ids)) == len(told.ids)
        assert set(told.last.access) == set(told.ids)
        assert told.last == told.roster.effective()
    assert replace(told.last, replicas=(), access={}) == replace(settings(), replicas=(), access={})


# ===== sources =====

NAME = Discovered(
    pool="p",
    spec=DnsConf(name="chat.test", port=80, path="/llm/"),
    template=replace(replica("like", seats=4), engine="vllm", weight=2.0),
    access=Access(api_key="shown"),
)


def seen(*hosts: str) -> dict[tuple[str, str], tuple[Found, ...]]:
    """What the source has found."""
    return {key_of(NAME): tuple(Found(host=host, port=80) for host in hosts)}


def sourced(*ids: str, pools: tuple[str, ...] = ("p",)) -> Settings:
    """A file with a source and these replicas."""
    return replace(settings(*ids, pools=pools), sources=(NAME,))


def test_a_found_replica_is_what_its_source_says() -> None:
    """Its place from the source, all else from the description; the id is what the file would give it."""
    one = placed(NAME, Found(host="fd00::1", port=80, weight=0.5, backup=True))
    assert (one.id, one.url) == ("[fd00::1]:80/llm", "http://[fd00::1]:80/llm")
    assert (one.weight, one.backup, one.max_concurrent_requests, one.engine) == (1.0, True, 4, "vllm")


def test_found_replicas_join_the_others() -> None:
    """After those of the file and of the API; each with what the source's replicas are shown."""
    told = Told("a")
    told.roster.configured(sourced("a"))
    told.roster.add(replica("x"), Access())
    told.roster.found(seen("h1", "h2"))
    assert told.ids == ["a", "x", "h1:80/llm", "h2:80/llm"]
    assert told.last.access["h1:80/llm"].api_key == "shown"
    told.roster.found(seen("h2"))
    assert told.ids == ["a", "x", "h2:80/llm"]
    told.roster.configured(settings("a"))
    assert told.ids == ["a", "x"]


def test_who_is_named_twice_is_there_once() -> None:
    """The file's word comes first, then the API's; with it gone the source's holds."""
    told = Told()
    told.roster.configured(sourced("h1:80/llm"))
    told.roster.found(seen("h1", "h2"))
    assert [it.max_concurrent_requests for it in told.last.replicas] == [8, 4]
    told.roster.configured(sourced())
    assert sorted(it.max_concurrent_requests for it in told.last.replicas) == [4, 4]


def test_found_replicas_are_drained_and_removed_for_as_long_as_they_are_there() -> None:
    """A wish about one outlives reloads and further answers; one that was gone comes back fresh."""
    told = Told()
    told.roster.configured(sourced())
    told.roster.found(seen("h1", "h2"))
    told.roster.drain("h1:80/llm")
    told.roster.remove("h2:80/llm")
    told.roster.found(seen("h1", "h2", "h3"))
    told.roster.configured(sourced())
    assert (told.ids, told.draining) == (["h1:80/llm", "h3:80/llm"], ["h1:80/llm"])
    told.roster.found(seen("h3"))
    told.roster.found(seen("h1", "h2", "h3"))
    assert (told.ids, told.draining) == (["h1:80/llm", "h2:80/llm", "h3:80/llm"], [])


def test_removing_one_that_was_added_and_found_removes_it() -> None:
    """Whoever else names it: gone is gone, and it may be added again."""
    told = Told()
    told.roster.configured(sourced())
    told.roster.add(replica("h1:80/llm", seats=99), Access())
    told.roster.found(seen("h1"))
    assert [it.max_concurrent_requests for it in told.last.replicas] == [99]
    told.roster.remove("h1:80/llm")
    assert told.ids == []
    told.roster.add(replica("h1:80/llm", seats=9), Access())
    assert [it.max_concurrent_requests for it in told.last.replicas] == [9]


def test_sources_are_bounded_with_the_fleet() -> None:
    """What would be too many for a fleet is not taken."""
    told = Told("a", most=2)
    told.roster.configured(sourced("a"))
    told.roster.found(seen("h1", "h2"))
    assert told.ids == ["a", "h1:80/llm"]


# ===== what engines say of themselves =====

SAID = EngineAbout(engine="llamacpp", version="b6000", max_model_len=8192, seats=4)


@pytest.mark.parametrize(
    "access, engine, seats",
    [
        (Access(), "generic", 8),
        (Access(asks_engine=True), "llamacpp", 8),
        (Access(asks_engine=True, asks_seats=True), "llamacpp", 4),
    ],
)
def test_what_an_engine_says_never_overrides_the_configuration(access: Access, engine: str, seats: int) -> None:
    """Version and length are facts; its kind and its seats hold only where the file leaves them open."""
    told = Told()
    told.roster.add(replica("x"), access)
    told.roster.learnt({"x": SAID, "gone": SAID})
    (known,) = told.last.replicas
    assert (known.engine, known.max_concurrent_requests, known.version) == (engine, seats, "b6000")
    assert known.max_model_len == 8192
    told.roster.learnt({})
    assert told.last.replicas == (replica("x"),)


def test_replicas_of_scaled_pools() -> None:
    """They join and leave as they are told of, drain where that is said, and may be removed by hand; who else names
    their id comes first."""
    told = Told("a")
    one, two = (replica("p-1"), Access(api_key="k")), (replace(replica("p-2"), drain=True), Access())
    told.roster.scaled((one, two, (replica("a", seats=99), Access()), (replica("x-1", pool="x"), Access())))
    assert (told.ids, told.draining) == (["a", "p-1", "p-2"], ["p-2"])
    assert (told.last.access["p-1"].api_key, told.last.replicas[0].max_concurrent_requests) == ("k", 8)
    told.roster.remove("p-1")
    assert told.ids == ["a", "p-2"]
    told.roster.scaled((one,))
    assert told.ids == ["a"]
    told.roster.scaled(())
    told.roster.scaled((one,))
    assert told.ids == ["a", "p-1"]
    told.roster.drain("p-1")
    assert told.draining == ["p-1"]
