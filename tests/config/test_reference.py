"""The reference page and the JSON Schema say what the loader does."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.config.reference import json_schema, markdown, schema_text, written

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "file, made, flag",
    [("configuration.md", markdown, "--reference"), ("penstock.schema.json", schema_text, "--schema")],
)
def test_the_shipped_pages_are_up_to_date(file: str, made: Any, flag: str) -> None:
    """Who changes a field makes the pages again, with the command that the assertion names."""
    assert (ROOT / "docs/reference" / file).read_text() == made(), f"penstock check {flag} > docs/reference/{file}"


def test_every_field_has_a_meaning() -> None:
    """No row of the page ends in an empty cell."""
    rows = [row for row in markdown().splitlines() if row.startswith("| `")]
    assert len(rows) > 80
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Blocks point at headings that are there."""
    page = markdown()
    anchors = {
        re.sub(r"[^a-z0-9 _-]", "", line[4:].lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("### ")
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) - anchors == set()


@pytest.mark.parametrize(
    "value, unit, text",
    [
        (30.0, "seconds", "30s"), (600.0, "seconds", "10m"), (75.0, "seconds", "75s"), (0.5, "seconds", "500ms"),
        (0.0, "seconds", "0s"), (86400.0, "seconds", "1d"), (65536, "bytes", "64KiB"), (1 << 30, "bytes", "1GiB"),
        (1000, "bytes", "1000"), (None, None, "null"), (True, None, "true"), ((), None, "[]"), ({}, None, "{}"), ("", None, '""'),
    ],
)  # fmt: skip
def test_defaults_are_shown_as_they_would_be_written(value: Any, unit: str | None, text: str) -> None:
    """A default can be copied into a file."""
    assert written(value, unit) == text


_KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float), "integer": int,
}  # fmt: skip


def misfits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """A validator of the few words that our schema uses (JSON Schema 2020-12)."""
    if "$ref" in schema:
        return misfits(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    found: list[str] = []
    if "anyOf" in schema and all(misfits(value, option, root) for option in schema["anyOf"]):
        found.append(f"{value!r} fits none")
    kind = schema.get("type")
    if kind and (not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind in ("number", "integer"))):
        return [*found, f"{value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{value!r} does not look right")
    low_ok = (
        value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", value - 1)
        if kind in ("number", "integer")
        else True
    )
    if not low_ok or (kind in ("number", "integer") and value > schema.get("maximum", value)):
        found.append(f"{value!r} is out of bounds")
    for name, item in value.items() if isinstance(value, dict) else ():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        found += [f"no {name}"] if inner is False else misfits(item, inner, root) if isinstance(inner, dict) else []
    for item in value if isinstance(value, list) and "items" in schema and schema["items"] else ():
        found += misfits(item, schema["items"], root)
    found += [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
    return found


@pytest.mark.parametrize("file", ["penstock.yaml", "full.yaml"])
def test_the_examples_fit_the_schema(file: str) -> None:
    """An editor shows no red in the shipped files."""
    schema = json_schema()
    assert misfits(yaml.safe_load((ROOT / "examples" / file).read_text()), schema, schema) == []


@pytest.mark.parametrize(
    "text, fits",
    [
        ("max_waiting: ${N}", True), ("max_waiting: many", False), ("queue: {timeout: 1m30s}", True),
        ("queue: {timeout: 3 weeks}", False), ("limits: {head: 64KiB}", True), ("limits: {head: 3Qi}", False),
        ("pools: [{name: a, strategy: adaptive}]", True), ("pools: [{name: a, strategy: adaptiv}]", False),
        ("pools: [{name: a, strategy: {kind: adaptive, load: 1}}]", True), ("pools: [{name: a, strategy: {kind: x}}]", False),
        ("pools: [{}]", False), ("quue: {}", False), ("log: {level: '${L}'}", True), ("log: {level: loud}", False),
    ],
)  # fmt: skip
def test_the_schema_tells_right_from_wrong(text: str, fits: bool) -> None:
    """Editors see most mistakes before `penstock check` does, and no others."""
    schema = json_schema()
    assert (misfits(yaml.safe_load(text), schema, schema) == []) is fits


def test_no_tag_of_the_specification_reaches_users() -> None:
    """Docstrings may point into the specification, pages do not."""
    assert not re.search(r"\[[A-Z]\d", markdown() + json.dumps(json_schema()))
