"""The compiled package decides as the one that Python reads: the same tests pass, the same journals come out."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
TESTS = (
    "tests/core",
    "tests/agreement/test_golden_journals.py",
    "tests/gateway/call/test_attempt.py",
    "tests/gateway/client/test_inbound.py",
)


def hook() -> ModuleType:
    """The build's own file, which no package holds."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_compiled_is_there_and_has_no_shapes_of_msgspec() -> None:
    """Every named file exists; the Gate is among them, and its vocabularies, which msgspec reads, are not."""
    names = hook().modules(ROOT / "src")
    assert all((ROOT / "src" / name).is_file() for name in names)
    assert "penstock/core/gate.py" in names
    assert not {"penstock/core/events.py", "penstock/core/effects.py", "penstock/core/spec.py"} & set(names)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    shutil.which("cc") is None or not HEADERS.exists(), reason="needs a C compiler and Python's headers"
)
@pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="needs setuptools, as builds in isolation get it"
)
def test_compiled_it_passes_the_same_tests(tmp_path: Path) -> None:
    """The tests of the core, of the golden journals and of connections pass with the compiled package."""
    libraries = hook().compiled(ROOT / "src", tmp_path)
    place = tmp_path / "lib"
    shutil.copytree(ROOT / "src", place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    assert any(path.name.startswith("gate.") for path in libraries)
    modules = ("penstock.core.gate", "penstock.gateway.client.inbound")
    where = f"import sys, {', '.join(modules)}; print(*(sys.modules[name].__file__ for name in {modules}))"
    env = {**os.environ, "PYTHONPATH": str(place)}
    said = subprocess.run(
        [sys.executable, "-c", where], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.count(".so") == 2, said.stdout
    options = ["-q", "-p", "no:cacheprovider", "-o", f"pythonpath={place} {ROOT}", "-m", "not slow"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *TESTS],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:]
