"""What the admin API says of pools that scale themselves."""

from tests.helpers.admin import Rig, over
from tests.helpers.wire import until

SCALED = """
admin_key: sk-admin-key
pools:
  - {name: p, models: [m], scale: {actuator: {kind: dry_run}}}
"""


def test_pools_that_scale_themselves() -> None:
    """All of them, one with what it decided, and one that does not scale itself is not found."""

    async def test(rig: Rig) -> None:
        assert (await rig.ask("GET", "/admin/pools")).json == []
        pools = rig.gateway.reloader.settings.scaled
        rig.gateway.scaling.open(pools)
        rig.gateway.scaling.start(pools)
        assert [view["pool"] for view in (await rig.ask("GET", "/admin/pools")).json] == ["p"]
        story = (await rig.ask("GET", "/admin/pools/p?last=5")).json
        assert (story["view"]["min"], story["view"]["max"], story["entries"]) == (2, 20, [])
        missing = await rig.ask("GET", "/admin/pools/x")
        assert (missing.status, missing.code) == (404, "not_found")
        assert "there is no pool 'x' that scales itself; those that do: p" in missing.json["error"]["message"]
        assert (await rig.ask("GET", "/admin/pools/p?last=0")).status == 400
        turns = (await rig.ask("GET", "/admin/journal?of=scaling&last=10")).json
        assert turns[0][1]["type"] == "Reconfigured"
        assert "actuator" not in turns[0][1]["pools"]["p"]
        assert (await rig.ask("GET", "/admin/journal?of=all")).status == 400

    over(test, SCALED)


def test_a_notice_over_the_api() -> None:
    """Only with the admin key; about a replica that the pool runs; what is wrong with it is told."""

    async def test(rig: Rig) -> None:
        rig.gateway.scaling.open(rig.gateway.reloader.settings.scaled)
        rig.gateway.scaling.start(rig.gateway.reloader.settings.scaled)
        where = "/admin/pools/p/notices"
        await until(lambda: rig.gateway.scaling.noticed("p", "p-1", 3600.0) == 1)
        told = await rig.ask("POST", where, {"unit": "p-2", "within_s": 30})
        assert (told.status, told.json) == (200, {"pool": "p", "noticed": 1})
        assert (await rig.ask("POST", where, {"unit": "p-99"})).status == 404
        assert (await rig.ask("POST", "/admin/pools/q/notices", {"unit": "p-2"})).status == 404
        assert (await rig.ask("POST", where, {"unit": "p-2", "time": "soon"})).status == 400
        assert (await rig.ask("POST", where, {"unit": "p-2"}, {"authorization": ""})).status == 401
        assert (await rig.ask("GET", where)).status in (404, 405)

    over(test, SCALED)
