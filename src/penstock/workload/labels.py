"""The names that a workload can draw, without drawing: for who must know them beforehand."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.workload.combine import Label
from penstock.workload.sessions import Sessions
from penstock.workload.synthetic import Synthetic

if TYPE_CHECKING:
    from penstock.workload.combine import Spec


def adapters(spec: "Spec") -> list[str]:
    """Every LoRA adapter that can be drawn. What a recorded trace names is not known before it is read."""
    return list(dict.fromkeys(_adapters(spec)))


def _adapters(spec: "Spec") -> Iterator[str]:
    if isinstance(spec, Synthetic | Sessions | Label) and spec.adapter is not None:
        yield from spec.adapter.names()
    parts = getattr(spec, "of", ())
    for part in parts if isinstance(parts, tuple) else (parts,):
        yield from _adapters(part)
