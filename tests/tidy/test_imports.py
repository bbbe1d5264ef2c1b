"""The house stands: no import goes up or across, none goes in a circle, no room is empty of visitors."""

import pytest

from tests.tidy.imports import FLOORS, check_cycles, check_floors, check_orphans, knots
from tests.tidy.sources import Source, assert_tidy, report, sources


def bad(check: object, **files: str) -> str:
    """What a check says of a small package: keys are file names with double underscores for slashes."""
    listed = [Source(f"src/penstock/{name.replace('__', '/')}.py", text) for name, text in files.items()]
    assert callable(check)
    return report(check(listed))


def test_floors() -> None:
    """Every module of the project imports only lower floors and its own room."""
    assert_tidy(check_floors(sources("src")))


def test_no_cycles() -> None:
    """No modules of the project import each other in a circle."""
    assert_tidy(check_cycles(sources("src")))


def test_no_orphans() -> None:
    """Every module of the project is imported by another or is where a command begins."""
    assert_tidy(check_orphans(sources("src")))


@pytest.mark.parametrize(
    "line",
    [
        "import penstock.gateway.server",
        "from penstock.gateway import server",
        "from penstock.gateway.server import Server",
        "if TYPE_CHECKING:\n    from penstock.gateway.server import Server",
        "def late():\n    import penstock.gateway.server",
        "import_module('penstock.gateway.server')",
    ],
)
def test_import_upwards_is_found(line: str) -> None:
    """An import of a higher floor is found however it is written, and the message shows line, floors and way out."""
    said = bad(check_floors, core__gate=line, gateway__server="")
    assert said.startswith("src/penstock/core/gate.py:"), said
    assert "floor 1) imports `gateway` (floor 5)" in said
    assert "as an argument" in said


def test_import_across_is_found() -> None:
    """Rooms of one floor do not know each other."""
    assert "where none knows another" in bad(check_floors, core__gate="import penstock.engine.batcher")


def test_import_downwards_and_inside_is_fine() -> None:
    """Lower floors, the own room, and the root package's version may be imported."""
    files = {
        "gateway__build": "import penstock.core.gate\nfrom penstock import __version__\nimport penstock.gateway.server",
        "gateway__server": "",
        "core__gate": "from penstock.base.nouns import Call",
    }
    assert bad(check_floors, **files) == ""


def test_unknown_room_is_found() -> None:
    """A new room must be given a floor."""
    assert "has no floor" in bad(check_floors, attic__box="")
    assert "has no floor" in bad(check_floors, cli__x="import penstock.attic.box")


def test_root_package_imports_nothing() -> None:
    """The root package, which everybody imports, imports none of its rooms."""
    assert "imports nothing" in report(check_floors([Source("src/penstock/__init__.py", "import penstock.base")]))


def test_main_is_a_command() -> None:
    """`python -m penstock` stands on the top floor."""
    assert report(check_floors([Source("src/penstock/__main__.py", "import penstock.cli.main")])) == ""


def test_cycle_is_found() -> None:
    """A circle around three corners is found, also where one side imports for types only."""
    files = {
        "core__a": "from penstock.core import b",
        "core__b": "if TYPE_CHECKING:\n    from penstock.core.c import C",
        "core__c": "def late():\n    import penstock.core.a",
    }
    said = bad(check_cycles, **files)
    assert "penstock.core.a -> penstock.core.b -> penstock.core.c -> penstock.core.a" in said


def test_diamond_is_no_cycle() -> None:
    """Two ways to one module are no circle."""
    files = {
        "core__a": "from penstock.core import b, c",
        "core__b": "import penstock.core.d",
        "core__c": "import penstock.core.d",
        "core__d": "",
    }
    assert bad(check_cycles, **files) == ""


def test_knots_finds_every_group() -> None:
    """Two separate circles are two groups; a lone node and a self-loop are none."""
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}, "e": {"e"}}
    assert sorted(knots(graph)) == [["a", "b"], ["c", "d"]]


def test_orphan_is_found() -> None:
    """A module that nobody imports is found; a command is not."""
    files = {"core__lost": "", "core__used": "", "cli__serve": "import penstock.core.used"}
    sources_ = [Source(f"src/penstock/{name.replace('__', '/')}.py", text) for name, text in files.items()]
    said = report(check_orphans(sources_, starts={}))
    assert said.startswith("src/penstock/core/lost.py:1: no other module imports it")
    assert "\n" not in said
    assert report(check_orphans(sources_, starts={"penstock.core.lost": "an example"})) == ""


def test_orphan_list_shrinks() -> None:
    """An excuse for a module that is imported by now is found."""
    files = [Source("src/penstock/core/a.py", ""), Source("src/penstock/cli/b.py", "import penstock.core.a")]
    assert "take it out" in report(check_orphans(files, starts={"penstock.core.a": "an example"}))


def test_floors_name_every_room() -> None:
    """The table of floors covers the rooms that exist, so no room is unchecked."""
    assert {source.package for source in sources("src")} - {"", "__main__"} <= set(FLOORS)
