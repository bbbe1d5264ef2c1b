"""The image: what is copied into it is all that its wheel is built from."""

import fnmatch
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_COPY = re.compile(r"^COPY (?!--from)(.+)$", re.MULTILINE)


def sources() -> list[str]:
    """What the image's build copies from the checkout."""
    return [name for words in _COPY.findall((ROOT / "Dockerfile").read_text()) for name in words.split()[:-1]]


def test_what_is_copied_is_not_ignored() -> None:
    """Every file that the build copies is among those that are sent to it."""
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources()
    assert [name for name in sources() if not any(fnmatch.fnmatch(name, rule) for rule in sent)] == []


@pytest.mark.slow
def test_what_is_copied_builds_the_wheel(tmp_path: Path) -> None:
    """The wheel is built from the copied files alone, by the image's own command (not compiled: that has its test)."""
    for name in sources():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert "penstock/core/gate.py" in zipfile.ZipFile(wheel).namelist()
