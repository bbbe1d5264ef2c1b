"""What is not Python: links that resolve, commands that exist, a changelog that keeps its form, a lock that is whole.

Also the words that no tracked file may hold: paths of somebody's machine, and hosts of package registries (the lock
must work with any index).
"""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from tests.tidy.sources import ROOT, Finding

FORBIDDEN: tuple[tuple[str, str], ...] = (
    (r"(?<![\w.-])/wor" + r"k/", "a path of one machine: write it relative to the repository"),
    (r"(?<![\w.-])/far" + r"m/", "a path of one machine: write it relative to the repository"),
    (r"\.\./share" + r"d\b", "a path outside of the repository: say it here, or link the public source"),
    (r"\.librar" + r"y\b", "a path of one machine: say it here, or link the public source"),
    (r"\bfarm" + r"-(bench|studio|[0-9a-f]{4,})", "a name of one machine"),
    (r"(?<!\w)/(home|root|Users)/" + r"\w", "a path of one machine: write it relative to the repository, or with ~"),
    (r"\bpypi\." + r"org\b|\bpythonhosted\." + r"org\b", "a package registry: any index must do"),
    (
        r"\bnpmjs\." + r"(org|com)\b|\bcrates\." + r"io\b|\bgolang\.org/" + r"dl\b",
        "a package registry: any index must do",
    ),
    (
        r"^\s*(--)?(extra-)?index-ur" + r"l\b|--find-lin" + r"ks\s",
        "an index of somebody's: it belongs in pip's own configuration",
    ),
)
"""Pattern -> why no tracked file may hold it. Each is written in two parts, so that this file does not find itself."""

SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def tracked() -> list[Path]:
    """The files that belong to the project: what git tracks, or everything where there is no git (an sdist)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", ".git", "dist", "build", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)]


def texts(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(path from the root, content) of every file that is text."""
    for path in paths:
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def check_words(files: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Forbidden words."""
    for path, text in files:
        for pattern, why in FORBIDDEN:
            for match in re.finditer(pattern, text, re.MULTILINE):
                line = text.count("\n", 0, match.start()) + 1
                yield Finding(path, line, f"holds {match.group().strip()!r}, {why}")


def check_changelog(text: str, version: str) -> Iterator[Finding]:
    """The form of CHANGELOG.md (Keep a Changelog), and that it tells of this version."""
    lines = text.splitlines()
    if not lines or lines[0] != "# Changelog":
        yield Finding("CHANGELOG.md", 1, "must begin with '# Changelog'")
    releases: list[tuple[int, ...]] = []
    section = first = ""
    for number, line in enumerate(lines, 1):
        if line.startswith("## "):
            first = first or line
            section = ""
            match = re.fullmatch(r"## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", line)
            if match:
                releases.append(tuple(map(int, match.groups())))
            elif line != "## [Unreleased]":
                yield Finding("CHANGELOG.md", number, "a release is '## [1.2.3] - 2026-01-31', or '## [Unreleased]'")
        elif line.startswith("### "):
            section = line[4:]
            if section not in SECTIONS:
                yield Finding("CHANGELOG.md", number, f"{section!r} is none of {', '.join(SECTIONS)}")
        elif section and line and not line.startswith(("- ", "  ", "[")):
            yield Finding("CHANGELOG.md", number, "an entry begins with '- ', its next lines with two spaces")
    if first != "## [Unreleased]":
        yield Finding("CHANGELOG.md", 1, "the first heading is '## [Unreleased]'")
    if releases != sorted(releases, reverse=True):
        yield Finding("CHANGELOG.md", 1, "releases stand newest first")
    if releases and tuple(map(int, version.split("."))) < releases[0]:
        yield Finding("CHANGELOG.md", 1, f"tells of a release that is newer than the package's version {version}")


def check_links(files: Iterable[tuple[str, str]], exists: Iterable[str]) -> Iterator[Finding]:
    """Relative links of Markdown files that lead nowhere: to no file, or to no heading."""
    files = list(files)
    known = set(exists)
    known |= {str(parent) for path in known for parent in PurePosixPath(path).parents}
    anchors = {path: set(headings(text)) for path, text in files if path.endswith(".md")}
    for path, text in files:
        if not path.endswith(".md"):
            continue
        for match in re.finditer(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)", without_code(text)):
            target, _, anchor = match[1].partition("#")
            line = text.count("\n", 0, match.start()) + 1
            if re.match(r"[a-z]+:", target):
                continue
            full = _join(path, target) if target else path
            if full not in known:
                yield Finding(path, line, f"links to {target}, which does not exist")
            elif anchor and full in anchors and anchor not in anchors[full]:
                yield Finding(path, line, f"links to #{anchor}, and {full} has no such heading")


def without_code(text: str) -> str:
    """The text with code blocks blanked, at the same length."""
    return re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.MULTILINE | re.DOTALL)


def headings(text: str) -> Iterator[str]:
    """The anchors of a Markdown file's headings, as forges make them."""
    for match in re.finditer(r"^#{1,6} (.+)$", without_code(text), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", match[1].lower().strip()).replace(" ", "-")


def _join(path: str, target: str) -> str:
    parts: list[str] = list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts)) if parts else "."


def check_commands(path: str, text: str, targets: Iterable[str], commands: Iterable[str]) -> Iterator[Finding]:
    """`make X` and `penstock X` in a document that do not exist."""
    for word, known in (("make", set(targets)), ("penstock", set(commands))):
        for match in re.finditer(rf"(?:`|^\s*(?:\$ )?){word} ([a-z][a-z-]*)", text, re.MULTILINE):
            if match[1] not in known:
                line = text.count("\n", 0, match.start(1)) + 1
                yield Finding(path, line, f"tells the reader to run `{word} {match[1]}`, which does not exist")


def make_targets(makefile: str) -> set[str]:
    """The targets of a Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


def check_lock(path: str, lock: str, wanted: Iterable[str]) -> Iterator[Finding]:
    """A lock file without one of the dependencies, or with one that has no exact version or hash."""
    joined = re.sub(r"\\\n\s*", " ", lock)
    pinned: set[str] = set()
    for line in joined.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            name = re.match(r"([A-Za-z0-9._-]+)==[^\s;]+", line)
            if not name or "--hash=sha256:" not in line:
                yield Finding(path, 1, f"{line[:40]!r} has no exact version or no hash: make lock")
            else:
                pinned.add(plain(name[1]))
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if name and plain(name[0]) not in pinned:
            yield Finding(path, 1, f"{name[0]} is a dependency and not locked: make lock")


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
