"""Files and functions keep their shape: told, short, tested."""

from tests.tidy.shape import (
    NO_TWIN,
    OWN_FOLDERS,
    check_docstrings,
    check_median,
    check_sizes,
    check_twins,
    has_logic,
    twin,
)
from tests.tidy.sources import ROOT, Source, assert_tidy, report, sources

LOGIC = "def f(x):\n    y = x + 1\n    return y\n"


def test_docstrings() -> None:
    """Every file opens with what it is for, and every test says its claim."""
    assert_tidy(check_docstrings(sources("src", "tests", "bench")))


def test_sizes() -> None:
    """No file is over 400 lines and no function over 50, but for what the ratchet allows with a reason."""
    assert_tidy(check_sizes(sources("src", "tests", "bench")))


def test_median() -> None:
    """The median function of the package is under ten lines."""
    assert_tidy(check_median(sources("src")))


def test_twins() -> None:
    """Every source file with logic has its own test file, and every test file its source."""
    assert_tidy(check_twins(sources("src"), sources("tests")))


def test_missing_docstring_is_found() -> None:
    """A file, or a test, that says nothing of itself is found; an empty file is not."""
    assert "opens without" in report(check_docstrings([Source("src/penstock/a.py", "x = 1")]))
    assert report(check_docstrings([Source("src/penstock/__init__.py", "")])) == ""
    text = (
        '"""A test."""\n\ndef test_a() -> None:\n    assert True\n\nclass TestB:\n    def test_c(self) -> None: pass\n'
    )
    said = report(check_docstrings([Source("tests/test_a.py", text)]))
    assert "test_a.py:3: test_a has no docstring" in said
    assert "test_a.py:7: test_c has no docstring" in said
    assert report(check_docstrings([Source("tests/test_a.py", '"""T."""\ndef test_a():\n    """Claims."""')])) == ""


def test_long_file_is_found() -> None:
    """401 lines are found, 400 are not."""
    assert "401 lines" in report(check_sizes([Source("a.py", "x = 1\n" * 401)], {}))
    assert report(check_sizes([Source("a.py", "x = 1\n" * 400)], {})) == ""


def test_long_function_is_found() -> None:
    """A function of 51 lines is found with its line, methods and nested ones too; one of 50 is not."""
    body = "        x = 1\n" * 50
    said = report(check_sizes([Source("a.py", f"class A:\n    def long(self):\n{body}")], {}))
    assert said.startswith("a.py:2: long has 51 lines")
    body = "        x = 1\n" * 49
    assert report(check_sizes([Source("a.py", f"class A:\n    def long(self):\n{body}")], {})) == ""


def test_ratchet_only_shrinks() -> None:
    """An entry allows what it says and no more, and is asked for once it is generous or needless."""
    files = [Source("a.py", "x = 1\n" * 450)]
    assert report(check_sizes(files, {"a.py": (450, "a table")})) == ""
    assert "450 lines" in report(check_sizes(files, {"a.py": (449, "a table")}))
    assert "lower it to 450" in report(check_sizes(files, {"a.py": (460, "a table")}))
    assert "take it out" in report(check_sizes([Source("a.py", "x = 1\n")], {"a.py": (460, "a table")}))
    assert "take it out" in report(check_sizes([], {"gone.py::f": (60, "a table")}))


def test_long_median_is_found() -> None:
    """A package of long functions is found."""
    assert "the median function has 12 lines" in report(
        check_median([Source("a.py", "def f():\n" + "    x = 1\n" * 11)])
    )
    assert report(check_median([Source("a.py", LOGIC)])) == ""


def test_missing_twin_is_found() -> None:
    """A file with logic and no test of its own is found, and says which file to write."""
    code = [Source("src/penstock/core/queue.py", LOGIC)]
    assert "write tests/core/test_queue.py" in report(check_twins(code, [], {}))
    assert report(check_twins(code, [Source("tests/core/test_queue.py", "")], {})) == ""
    assert report(check_twins(code, [], {code[0].path: "an example"})) == ""


def test_needless_excuse_is_found() -> None:
    """An excuse for a file that has a test by now is found."""
    code, tests = [Source("src/penstock/core/queue.py", LOGIC)], [Source("tests/core/test_queue.py", "")]
    assert "take it out of NO_TWIN" in report(check_twins(code, tests, {code[0].path: "an example"}))


def test_widowed_test_is_found() -> None:
    """A test file without a source is found, outside of the folders that are about more than one file."""
    assert "twin of no source" in report(check_twins([], [Source("tests/core/test_gone.py", "")], {}))
    assert report(check_twins([], [Source("tests/e2e/test_all.py", "")], {})) == ""


def test_long_tests_split_by_aspect() -> None:
    """A source's tests may fill several files, named after it and an aspect; one of them bears its name alone."""
    code = [Source("src/penstock/core/queue.py", LOGIC)]
    aspect, plain = Source("tests/core/test_queue_bounds.py", ""), Source("tests/core/test_queue.py", "")
    assert report(check_twins(code, [plain, aspect], {})) == ""
    assert "write tests/core/test_queue.py" in report(check_twins(code, [aspect], {}))
    assert "twin of no source" in report(check_twins(code, [plain, Source("tests/core/test_queues.py", "")], {}))


def test_words_need_no_twin() -> None:
    """Nouns, specs, protocols and package files have no logic; a function with a body has."""
    words = (
        '"""Nouns."""\nclass A(Struct):\n    x: int\n\nclass P(Protocol):\n    def f(self) -> int:\n        """It."""\n'
    )
    assert not has_logic(Source("src/penstock/core/words.py", words))
    assert not has_logic(Source("src/penstock/core/__init__.py", LOGIC))
    assert has_logic(Source("src/penstock/core/queue.py", LOGIC))


def test_twin_path() -> None:
    """A twin has the same place and name under tests."""
    assert twin("src/penstock/core/route/presets.py") == "tests/core/route/test_presets.py"
    assert twin("src/penstock/thing.py") == "tests/test_thing.py"


def test_lists_are_not_stale() -> None:
    """The exceptions name files that exist, and no room of the package is taken for a folder of its own."""
    for path in NO_TWIN:
        assert (ROOT / path).exists(), path
    assert not {source.package for source in sources("src")} & set(OWN_FOLDERS)
