"""Kubernetes' objects for tests: as the published schemas say, in the order in which the real controller ends them."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "examples/kubernetes/penstock.yaml"
SCHEMAS = ROOT / "tests/samples/kubernetes-1.37.json.gz"
COST = "controller.kubernetes.io/pod-deletion-cost"

Json = dict[str, Any]

_published: Json = json.loads(gzip.decompress(SCHEMAS.read_bytes()))
_validators: dict[str, Any] = {}


def check(it: Json, kind: str = "") -> None:
    """Raises jsonschema.ValidationError where an object is not as the published schema of its kind says."""
    kind = kind or it["kind"]
    if kind not in _validators:
        schema = {"$ref": f"#/$defs/{_published['kinds'][kind]}", "$defs": _published["$defs"]}
        _validators[kind] = jsonschema.Draft202012Validator(schema)
    _validators[kind].validate(it)


def allowed() -> list[Json]:
    """The rules of our example's Role."""
    (role,) = [it for it in yaml.safe_load_all(MANIFEST.read_text()) if it["kind"] == "Role"]
    rules: list[Json] = role["rules"]
    return rules


class Problem(Exception):
    """What the server answers instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def worth(pod: Json) -> tuple[bool, bool, int, str]:
    """ActivePodsWithRanks of k8s.io/kubernetes/pkg/controller: pending, unready, cheap and young ones go first."""
    ready = any(it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", []))
    cost = int(pod["metadata"].get("annotations", {}).get(COST, "0"))
    young = "".join(chr(255 - ord(letter)) for letter in pod["metadata"]["creationTimestamp"])
    return pod["status"]["phase"] == "Running", ready, cost, young


def selected(it: Json, params: Json) -> bool:
    """Whether a question asks for this one."""
    label, _, value = params.get("labelSelector", "").partition("=")
    return not label or it["metadata"].get("labels", {}).get(label) == value


def merge(into: Json, change: Json) -> None:
    """RFC 7386."""
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def endpoint(address: str, **conditions: bool) -> Json:
    """An endpoint of a slice."""
    return {"addresses": [address], "conditions": conditions}
