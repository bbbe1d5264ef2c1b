"""A reload over the admin API: how its mistakes are told."""

from penstock.base.errors import ConfigError
from penstock.config.schema import Settings
from tests.helpers.admin import CONFIG, Rig, over


def test_a_failed_reload_names_the_file() -> None:
    """Each mistake says in which file it is and where, as the command line does."""

    async def test(rig: Rig) -> None:
        read = rig.read

        def refused() -> Settings:
            try:
                return read()
            except ConfigError as wrong:
                raise ConfigError(wrong.mistakes, "penstock.yaml") from None

        rig.gateway.reloader._read = refused
        rig.text = CONFIG.replace("models:", "modles:")
        answer = await rig.ask("POST", "/admin/reload")
        lines = answer.json["error"]["message"].splitlines()
        assert [line.startswith("penstock.yaml: pools[0]") for line in lines] == [True] * len(lines)

    over(test)
