"""The reference page of scenario files, made from their types; a pool's blocks and workloads have their own pages."""

from penstock.config.reference import places, tables
from penstock.config.scenarios import Scenario
from penstock.config.schema import File
from penstock.config.sharing import CacheConf
from penstock.core.cache.spec import CacheSpec
from penstock.sim.compare import HIGHER_IS_BETTER, METRICS
from penstock.sim.pressure import TOLD
from penstock.sim.report import ROWS
from penstock.workload.combine import WORKLOADS

_HEAD = """\
# Scenario reference

<!-- Made by `penstock simulate --reference` from src/penstock/config/scenarios.py. Do not edit. -->

One YAML file says what `penstock simulate` tries: what comes, over which fleet, under which policy, and what goes wrong
meanwhile. All mistakes in it are told at once. [How to use it](../how-to/simulate.md);
[examples](../../examples/scenarios).

- Durations, sizes and texts are written as in the [configuration](configuration.md#how-values-are-written), without
  variables. **null** stands for "none" below. A block that is left empty is one that is left out.
- `workload` is what stands under the same name in a [workload file](workloads.md#workload-files); relative paths are
  seen from the scenario's folder.
- `policy` is what stands in a pool of the gateway's own file: a block that was tried here is copied there. Nothing is
  inherited from anywhere: what is left out has the gateway's default.
- `penstock simulate --strategies`, `--compare`, `--replicas`, `--gateways` and `--seeds` replace the scenario's own
  strategy, policy (and its variants), `count` of the group and of `gateways`, and `seeds`; `--from-journal` replaces
  `workload` and `policy` by what was recorded.

## Numbers that may be expected

`expect` takes every number of a result by the name that it has in `--json`. Times are seconds, shares from 0 to 1:

"""


_MORE = {
    "ok": "answered, within the SLO or not",
    "duration_s": "from the first arrival to the last end",
    "ttft_p90_s": "TTFT, p90",
    "e2e_mean_s": "end to end, mean",
    "e2e_p99_s": "end to end, p99",
    "cost_per_million_tokens": "cost of the fleet per million output tokens",
}
"""Meanings of the numbers that stand in no table."""


_NEITHER = ("requests", "duration_s")
_NUMBERS = "| name | meaning | better |\n|---|---|---|"
_UNDER_PRESSURE = """\
`penstock pressure` knows more of them, which tell how a fleet stood it:

| name | meaning |
|---|---|"""


def markdown() -> str:
    """The page."""
    elsewhere = {cls: f"configuration.md{link}" for cls, link in places(File, {}).items()}
    elsewhere[CacheSpec] = elsewhere[CacheConf]
    for name in WORKLOADS.names():
        elsewhere[WORKLOADS.spec(name)] = f"workloads.md#{name}"
    return f"{_HEAD}{_numbers()}\n## Fields\n{tables(Scenario, elsewhere)}"


def _numbers() -> str:
    meanings = {**_MORE, **{metric: name for metric, name, _ in ROWS}}
    better = dict.fromkeys(METRICS, "less") | dict.fromkeys(HIGHER_IS_BETTER, "more") | dict.fromkeys(_NEITHER, "-")
    rows = [f"| `{metric}` | {meanings[metric]} | {better[metric]} |" for metric in METRICS]
    more = [f"| `{metric}` | {meaning} |" for metric, meaning in TOLD.items()]
    return "\n".join([_NUMBERS, *rows, "", _UNDER_PRESSURE, *more, ""])
