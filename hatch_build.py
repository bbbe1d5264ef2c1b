"""A compiled wheel, for those who want one: the same sources, translated to C by mypyc where every request passes.

`PENSTOCK_COMPILE=1 pip wheel .` (or `make compiled`) asks for it; it needs a C compiler and Python's headers, takes two
minutes, and fits one version of Python on one kind of machine. What is not listed here stays as it is, and so does
every wheel that is built without the variable.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("core", "core/cache", "core/limits", "core/route")
"""Rooms that are compiled as a whole: what decides."""
FILES: tuple[str, ...] = (
    "adapters/wire/bodies.py", "adapters/wire/response.py", "adapters/wire/usage.py",
    "base/machine.py", "base/prefix.py", "base/rand.py", "drive/journal.py", "drive/pump.py", "drive/segments.py",
    *(f"gateway/{name}.py" for name in (
        "outbox", "perform", "pulse", "server",
        "client/backlog", "client/head", "client/inbound", "client/peek",
        "call/answers", "call/attempt", "call/benchmark", "call/carriage", "call/exchange", "call/owner",
        "call/packing", "call/relay", "call/splice", "call/verdict",
        "cache/cached", "cache/content", "cache/share",
        "fleet/lines", "fleet/outbound", "fleet/pool", "fleet/supply", "processes/booking",
    )),
    "telemetry/attempts.py", "telemetry/bookings.py", "telemetry/histogram.py", "telemetry/meter.py",
)  # fmt: skip
"""What every request passes beside them."""
SHAPE = "(Struct"
"""A module that has shapes of msgspec has to stay Python: it asks classes for their annotations, and C has none."""
READ_BY_NOBODY = ("penstock/core/prefix.py", "penstock/gateway/client/head.py")
"""Their shapes are never read or written by msgspec."""

_SETUP = """
import json, sys
from mypyc.build import mypycify
from setuptools import setup
setup(name="penstock", packages=[], ext_modules=mypycify(
    json.loads(sys.argv.pop()), multi_file=True, opt_level="2", debug_level="0"))
"""


def modules(source: Path) -> list[str]:
    """The files to compile, as paths below `source`. Those that hold shapes of msgspec are left out."""
    found = [path for folder in FOLDERS for path in sorted((source / "penstock" / folder).glob("*.py"))]
    found += [source / "penstock" / name for name in FILES]
    names = [str(path.relative_to(source)) for path in found if path.name != "__init__.py"]
    return [name for name in names if name in READ_BY_NOBODY or SHAPE not in (source / name).read_text()]


def compiled(source: Path, folder: Path) -> list[Path]:
    """Compile a copy of the sources in this folder; the libraries, below `folder / "lib"`. Raises
    `subprocess.CalledProcessError` where the compiler fails."""
    shutil.copytree(source, folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (folder / "src" / "setup.py").write_text(_SETUP)
    (folder / "src" / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n")  # extras need not be there
    command = [
        sys.executable, "setup.py", "--quiet", "build_ext", "--parallel", str(os.cpu_count() or 1),
        "--build-lib", "../lib", json.dumps(modules(folder / "src")),
    ]  # fmt: skip
    subprocess.run(command, cwd=folder / "src", check=True)
    return sorted((folder / "lib").rglob("*.so"))


class Compiled(BuildHookInterface[Any]):
    """Puts the libraries beside their sources, where Python prefers them."""

    PLUGIN_NAME = "custom"

    def _asked(self) -> bool:
        return os.environ.get("PENSTOCK_COMPILE") == "1"

    def dependencies(self) -> list[str]:
        """See hatchling. The types of what we import make the code fast, so it has to be there."""
        return ["mypy>=1.14", "setuptools>=68", *self.metadata.core.dependencies] if self._asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling. An editable install stays Python: its sources are meant to be changed."""
        if not self._asked() or version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory(prefix="penstock-compiled-")
        folder = Path(self.folder.name)
        for library in compiled(Path(self.root) / "src", folder):
            build_data["force_include"][str(library)] = str(library.relative_to(folder / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """See hatchling."""
        if hasattr(self, "folder"):
            self.folder.cleanup()
