"""Documents, changelog, lock and words: what the reader is told is so."""

import tomllib

import pytest

from penstock import __version__
from penstock.cli.main import COMMANDS
from tests.tidy.documents import (
    check_changelog,
    check_commands,
    check_links,
    check_lock,
    check_words,
    headings,
    make_targets,
    texts,
    tracked,
)
from tests.tidy.sources import ROOT, assert_tidy, report

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")]
)
GOOD_CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing\n  in two lines.\n\n## [0.1.0] - 2026-01-31\n"
)


def test_words() -> None:
    """No tracked file holds a path of one machine or a registry's host."""
    assert_tidy(check_words(texts(tracked())))


def test_changelog() -> None:
    """The changelog keeps its form and is not ahead of the package."""
    assert_tidy(check_changelog((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), __version__))


def test_links() -> None:
    """Every relative link of every Markdown file leads to a file and a heading that exist."""
    paths = tracked()
    pages = [path for path in paths if path.suffix == ".md"]
    assert_tidy(check_links(texts(pages), [path.relative_to(ROOT).as_posix() for path in paths]))


@pytest.mark.parametrize("path", DOCUMENTS)
def test_commands(path: str) -> None:
    """Every `make …` and `penstock …` that a document shows exists."""
    targets = make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert_tidy(check_commands(path, (ROOT / path).read_text(encoding="utf-8"), targets, COMMANDS))


def test_readme_names_its_two_commands() -> None:
    """The README shows the two commands that a newcomer needs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make serve" in text
    assert "make test" in text


def test_locks() -> None:
    """Every dependency is locked with an exact version and hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    base, groups = project["project"]["dependencies"], project["dependency-groups"]
    wanted = {"requirements.txt": [], "requirements-dev.txt": groups["dev"], "requirements-bench.txt": groups["bench"]}
    extras = project["project"]["optional-dependencies"]
    wanted["requirements-image.txt"] = [*extras["dns"], *extras["kubernetes"], *extras["postgres"]]
    for name, extra in wanted.items():
        assert_tidy(check_lock(name, (ROOT / name).read_text(encoding="utf-8"), [*base, *extra]))


def test_license_is_whole() -> None:
    """The licence is Apache's, to its last section."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize(
    "text",
    [
        "see /wor" + "k/main",
        "in ../share" + "d/reference",
        "(.librar" + "y/search)",
        "host farm" + "-bench",
        "open('/root/" + "x')",
        "--index-ur" + "l https://a.b/simple",
        "https://pypi." + "org/simple",
        "--find-lin" + "ks /opt",
        "files.pythonhosted." + "org",
    ],
)
def test_forbidden_word_is_found(text: str) -> None:
    """Each kind of forbidden word is found, with its line."""
    assert report(check_words([("docs/a.md", f"first line\n{text}\n")])).startswith("docs/a.md:2: holds ")


def test_common_words_are_fine() -> None:
    """Words that only look like them are left alone."""
    text = "work/done, homework/x, a shared/thing, library, farmhouse, index of the fleet, /health, https://example.org/root/"
    assert report(check_words([("a.md", text)])) == ""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (GOOD_CHANGELOG.replace("# Changelog", "# Changes", 1), "must begin"),
        (GOOD_CHANGELOG.replace("## [Unreleased]\n", "", 1), "first heading"),
        (GOOD_CHANGELOG.replace("Added", "New things"), "is none of"),
        (GOOD_CHANGELOG.replace("- A thing", "A thing"), "begins with '- '"),
        (GOOD_CHANGELOG.replace("[0.1.0] - 2026-01-31", "0.1.0"), "a release is"),
        (GOOD_CHANGELOG + "\n## [0.2.0] - 2026-02-01\n", "newest first"),
        (GOOD_CHANGELOG.replace("0.1.0", "9.0.0"), "newer than the package"),
    ],
)
def test_broken_changelog_is_found(broken: str, said: str) -> None:
    """Each way to break the changelog's form is found; the form itself is fine."""
    assert said in report(check_changelog(broken, "0.1.0"))
    assert report(check_changelog(GOOD_CHANGELOG, "0.1.0")) == ""


def test_dead_link_is_found() -> None:
    """A link to no file and a link to no heading are found, also across folders; code blocks are not read."""
    files = [
        (
            "README.md",
            "[a](docs/gone.md)\n[b](docs/here.md#part-two)\n[c](docs/here.md#part-one)\n[d](https://a.b/c)\n",
        ),
        (
            "docs/here.md",
            "# Here\n\n## Part `one`\n\n[up](../README.md) [folder](../docs) [self](#here)\n```\n[x](y.md)\n```\n",
        ),
    ]
    said = report(check_links(files, [path for path, _ in files]))
    assert said == (
        "README.md:1: links to docs/gone.md, which does not exist\n"
        "README.md:2: links to #part-two, and docs/here.md has no such heading"
    )


def test_headings_as_forges_make_them() -> None:
    """Anchors are lower case, without punctuation, with dashes."""
    assert list(headings("# What it is, in short\n## `make test`\n")) == ["what-it-is-in-short", "make-test"]


def test_unknown_command_is_found() -> None:
    """A document that tells to run what does not exist is found, in text and in code blocks."""
    text = "Run `make it-so` or\n\n    penstock fly\n\nand `make test`, `penstock serve --url x`.\n"
    said = report(check_commands("README.md", text, {"test"}, {"serve"}))
    assert said == (
        "README.md:1: tells the reader to run `make it-so`, which does not exist\n"
        "README.md:3: tells the reader to run `penstock fly`, which does not exist"
    )


def test_make_targets() -> None:
    """Targets are read with and without what they need; assignments are not targets."""
    assert make_targets("serve: x\ntest-fast:\nname:=x\n.PHONY: a\nVENV ?= .venv\n") == {"serve", "test-fast"}


def test_loose_lock_is_found() -> None:
    """A missing dependency, a range instead of a version, and a missing hash are found."""
    good = "# by uv\nrich==1.0 \\\n    --hash=sha256:ab\n    # via x\nPy_YAML==2 ; a != 'b' \\\n    --hash=sha256:cd\n"
    assert report(check_lock("r.txt", good, ["rich>=1", "py-yaml"])) == ""
    assert "not locked" in report(check_lock("r.txt", good, ["msgspec>=0.19"]))
    assert "no exact version" in report(check_lock("r.txt", "rich>=1 --hash=sha256:ab", []))
    assert "no hash" in report(check_lock("r.txt", "rich==1.0", []))
