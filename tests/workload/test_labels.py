"""Names that a workload can draw, known before it draws."""

from pathlib import Path

from penstock.config.workloads import read_workload
from penstock.workload.labels import adapters

TEXT = """
workload:
  kind: merge
  of:
    - {kind: synthetic, arrivals: {kind: poisson, rate: 1}, requests: 1, adapter: {kind: zipf, count: 2, prefix: a}}
    - kind: label
      adapter: {kind: weighted, weights: {b: 1, a1: 2}}
      of: {kind: loop, times: 2, of: {kind: trace, file: azure}}
    - kind: cut
      of: {kind: sessions, arrivals: {kind: poisson, rate: 1}, requests: 1, adapter: {kind: one, name: c}}
"""


def test_all_parts_are_asked_and_every_name_is_told_once() -> None:
    """Of workloads within workloads; a trace's are not known."""
    assert adapters(read_workload(TEXT, str(Path("w.yaml"))).workload) == ["a1", "a2", "b", "c"]
