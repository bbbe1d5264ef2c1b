"""What the admin API says of pools that scale themselves."""

from tests.helpers.admin import Rig, over

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
        assert (await rig.ask("GET", "/admin/pools/p?last=0")).status == 400
        turns = (await rig.ask("GET", "/admin/journal?of=scaling&last=10")).json
        assert turns[0][1]["type"] == "Reconfigured"
        assert "actuator" not in turns[0][1]["pools"]["p"]
        assert (await rig.ask("GET", "/admin/journal?of=all")).status == 400

    over(test, SCALED)
