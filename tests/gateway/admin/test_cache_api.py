"""The cache over the admin API: numbers, and answers that are put out of use."""

import pytest

from penstock.base.contents import Content
from penstock.base.nouns import Call
from penstock.core.events import Arrived, Ended, FleetSeen
from tests.helpers.admin import CONFIG, KEY, Rig, over

CACHING = CONFIG + "cache: {}\n"


def fill(rig: Rig) -> None:
    """Two answers are kept: with the tag t for x, and without for y."""
    pump = rig.gateway.pump
    pump.tell(FleetSeen(rig.gateway.reloader.settings.replicas))
    for number, (tenant, tags) in enumerate((("x", ("t",)), ("y", ()))):
        content = Content(f"d{number}", fixed=True, tags=tags)
        pump.tell(Arrived(Call(f"c{number}", "m", tenant=tenant, content=content)))
        pump.tell(Ended(f"c{number}", 1, 200, kept_bytes=100))


CASES = [
    ({"tag": "t"}, 1), ({"tenant": "y"}, 1), ({"model": "m"}, 2), ({"all": True}, 2), ({"tag": "t", "tenant": "y"}, 0),
    ({"tag": "u"}, 0),
]  # fmt: skip


@pytest.mark.parametrize("body,count", CASES)
def test_answers_are_put_out_of_use(body: dict[str, object], count: int) -> None:
    """By what is named, all of which must match; how many were kept here is told, and the numbers say so."""

    async def test(rig: Rig) -> None:
        fill(rig)
        assert (await rig.ask("GET", "/admin/cache", headers=KEY)).json["entries"] == 2
        done = await rig.ask("POST", "/admin/cache/invalidate", body, headers=KEY)
        assert done.json == {"invalidated": count, "shared": None}
        found = (await rig.ask("GET", "/admin/cache", headers=KEY)).json
        assert (found["entries"], found["bytes"]) == (2 - count, 100 * (2 - count))
        page = (await rig.ask("GET", "/metrics", headers=KEY)).body.decode()
        assert f"penstock_cache_entries{{}} {2 - count}" in page
        assert f'penstock_cache_let_go_total{{why="invalidated"}} {count}' in page
        assert 'penstock_cache_calls_total{state="miss"} 2' in page

    over(test, CACHING)


@pytest.mark.parametrize("body", [{}, {"all": True, "tag": "t"}, {"tags": "t"}, {"tag": 1}, [], {"all": False}])
def test_what_is_not_understood_puts_nothing_out_of_use(body: object) -> None:
    """A mistake must not empty the cache."""

    async def test(rig: Rig) -> None:
        fill(rig)
        assert (await rig.ask("POST", "/admin/cache/invalidate", body, headers=KEY)).status == 400
        assert (await rig.ask("GET", "/admin/cache", headers=KEY)).json["entries"] == 2

    over(test, CACHING)


def test_without_a_cache_there_is_none_to_ask() -> None:
    """That is told, with a way out."""

    async def test(rig: Rig) -> None:
        for method, path in (("GET", "/admin/cache"), ("POST", "/admin/cache/invalidate")):
            found = await rig.ask(method, path, {"all": True}, headers=KEY)
            assert (found.status, found.code) == (404, "not_found")
        assert b"penstock_cache" not in (await rig.ask("GET", "/metrics", headers=KEY)).body

    over(test, CONFIG)
