"""YAML into plain data: what is read, where it stood, and what is refused."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import math

import pytest

from penstock.config.document import MOST_CHARACTERS, MOST_DEPTH, NotYaml, parse


def refusal(text: str) -> str:
    """Why a text is not read."""
    with pytest.raises(NotYaml) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text, value",
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False), ("7", 7), ("-7", -7), ("0x1f", 31),
        ("0o17", 15), ("017", 17), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-.inf", -math.inf), ("no", "no"),
        ("on", "on"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"), ("'7'", "7"), ('"true"', "true"),
        ("127.0.0.1:80", "127.0.0.1:80"), (":8080", ":8080"), ("[a, 1]", ["a", 1]), ("{a: {b: []}}", {"a": {"b": []}}),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """Only what YAML 1.2's core schema names becomes a number, a truth value or null."""
    assert parse(text).tree == value


def test_not_a_number_is_read() -> None:
    """.nan is a number that equals nothing, for later checks to refuse."""
    assert math.isnan(parse(".nan").tree)


def test_keys_are_texts() -> None:
    """A key keeps its letters whatever it looks like."""
    assert parse("{1: a, true: b, ~: c}").tree == {"1": "a", "true": "b", "~": "c"}


def test_lines_are_known() -> None:
    """Every value's line is told by its path."""
    assert parse("a:\n  - x\n  - b: y\n").lines == {(): 1, ("a",): 2, ("a", 0): 2, ("a", 1): 3, ("a", 1, "b"): 3}


def test_keys_written_twice_are_told() -> None:
    """A second value for a key is a problem with both lines, not a silent overwrite."""
    parsed = parse("a: 1\nb: 2\na: 3\n")
    assert parsed.problems == [(("a",), "written twice (also in line 1)")]
    assert parsed.lines["a",] == 3


def test_tags_are_told() -> None:
    """A tag is a problem, and nothing is constructed from it."""
    parsed = parse("a: !!python/object/apply:os.system ['true']")
    assert parsed.problems == [
        (("a",), "found the tag 'tag:yaml.org,2002:python/object/apply:os.system', expected a value without a tag")
    ]


def test_anchors_are_copied() -> None:
    """An alias is a value of its own: changing one does not change the other."""
    tree = parse("a: &x {k: [1]}\nb: *x\n").tree
    tree["a"]["k"].append(2)
    assert tree["b"] == {"k": [1]}


def test_merge_keys_fill_in() -> None:
    """`<<` gives what is not written, and the first of several bases holds."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*b, *a], x: 3}\n"
    assert parse(text).tree["c"] == {"x": 3, "y": 2, "z": 2}


def test_merging_something_else_is_told() -> None:
    """`<<` takes mappings only."""
    assert parse("{<<: 3}").problems == [(("<<",), "expected a mapping, or a list of mappings, to merge")]


@pytest.mark.parametrize(
    "text, why",
    [
        ("a: [1\nb: 2\n", "line 2, column 2: this is not YAML: expected ',' or ']', but got ':' (while parsing a flow sequence)"),
        ("a: b: c", "line 1, column 5: this is not YAML: mapping values are not allowed here"),
        ("\ta: 1", "line 1, column 1: this is not YAML: found character '\\t' that cannot start any token (while scanning for the next token)"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins here, expected only one"),
        ("a: *x", "line 1, column 4: *x: no anchor &x ends before this"),
        ("a: &x [*x]", "line 1, column 8: *x: no anchor &x ends before this"),
        ("? [a]\n: 1", "line 1, column 3: found a list, a mapping or an alias as a key, expected a text"),
        ("a: \x00", "line 1, column 4: this is not YAML: special characters are not allowed (code point 0)"),
        ('a: "\\ud800"', "line 1, column 4: half of a surrogate pair, which is not a character"),
        ('a: "\\UFFFFFFFF"', "this is not YAML: "),
        ("[" * (MOST_DEPTH + 2), f"line 1, column {MOST_DEPTH + 2}: nested deeper than {MOST_DEPTH} levels"),
        ("x" * (MOST_CHARACTERS + 1), "the text has 1,048,577 characters, at most 1,048,576 are read"),
    ],
)  # fmt: skip
def test_what_is_not_read(text: str, why: str) -> None:
    """What is not YAML, or could do harm, is refused with its place."""
    assert refusal(text).startswith(why)


def test_a_billion_laughs_are_refused() -> None:
    """Aliases of aliases count with everything that they stand for."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    assert "more than 100,000 values (aliases count each time)" in refusal(laughs)


def test_depth_counts_through_aliases() -> None:
    """A tower of aliases is as deep as what it stands for."""
    tower = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [[[[*a{i - 1}]]]]\n" for i in range(1, 9))
    assert f"nested deeper than {MOST_DEPTH} levels" in refusal(tower)
