"""Costs in scenarios: models and GPUs by name, calibration files, and mistakes with a way out."""

from pathlib import Path

import pytest

from penstock.base.errors import ConfigError
from penstock.config.costs import Cost, engine_of, read_cost
from penstock.config.scenarios import Scenario, open_scenario, read_scenario
from penstock.engine.computed import computed
from penstock.engine.hardware import GPUS
from penstock.engine.modelled import NAMED, Modelled, written
from penstock.engine.models import MODELS
from penstock.engine.perf import PRESETS

HEAD = "workload: {kind: trace, file: azure}\n"
MINE = Modelled(about="mine", cost=PRESETS["fast"], outside_s=0.005, max_num_seqs=7, kv_blocks=99, hourly_cost=3.0)


def scenario(group: str) -> Scenario:
    """A scenario of one group."""
    return read_scenario(f"{HEAD}fleet:\n  - {group}\n", "s.yaml")


def mistakes(group: str) -> list[str]:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        scenario(group)
    return caught.value.mistakes


def test_an_engine_is_computed_from_names() -> None:
    """Model, GPU and type as people type them; limits and price come with them."""
    (group,) = scenario("{cost: {model: llama-3.1-8b, gpu: h100, dtype: fp8}}").fleet
    made = computed(MODELS["meta-llama/Meta-Llama-3.1-8B"], GPUS["H100-SXM"], "fp8")
    assert group.modelled() == made
    spec = group.engine()
    assert (spec.cost, spec.kv_blocks, spec.max_num_seqs) == (made.cost, made.kv_blocks, made.max_num_seqs)
    assert group.money_per_hour() == made.hourly_cost


def test_what_the_group_says_goes_before_what_is_computed() -> None:
    """Limits and money of one's own."""
    text = "{cost: {model: qwen3-8b, gpu: l40s}, kv_blocks: 50, max_num_seqs: 3, block_size: 32, hourly_cost: 0}"
    (group,) = scenario(text).fleet
    spec = group.engine()
    assert (spec.kv_blocks, spec.max_num_seqs, spec.block_size) == (50, 3, 32)
    assert group.money_per_hour() == 0.0


def test_presets_have_their_old_limits_and_no_price() -> None:
    """A scenario that was written before runs as it ran."""
    (group,) = scenario("{cost: demo}").fleet
    spec = group.engine()
    assert (spec.max_num_seqs, spec.max_num_batched_tokens, spec.kv_blocks, spec.block_size) == (256, 2048, 8192, 16)
    assert group.money_per_hour() == 0.0


def test_a_calibration_file_is_seen_from_the_scenarios_folder(tmp_path: Path) -> None:
    """What `penstock calibrate` wrote beside it."""
    (tmp_path / "mine.json").write_bytes(written(MINE))
    (tmp_path / "s.yaml").write_text(f"{HEAD}fleet: [{{cost: {{file: mine.json}}, kv_blocks: 100}}]\n")
    (group,) = open_scenario(str(tmp_path / "s.yaml")).fleet
    assert group.modelled() == MINE
    assert (group.engine().kv_blocks, group.engine().max_num_seqs, group.money_per_hour()) == (100, 7, 3.0)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("{cost: {model: llama-3.1-8x, gpu: h100}}", "did you mean `llama-3.1-8b`?"),
        ("{cost: {model: warp, gpu: h100}}", "there is no 'warp': there are llama-3.1-8b, llama-3.1-70b"),
        ("{cost: {model: llama-3.1-8b, gpu: a100}}", "'a100' may be a100-sxm-80gb or a100-sxm-40gb; say which"),
        ("{cost: {model: llama-3.1-8b}}", "`gpu` is missing; it takes `model` and `gpu`, or `file`"),
        ("{cost: {model: llama-3.1-70b, gpu: h100}}", "it does not fit; tensor_parallel: 2 would do"),
        ("{cost: {model: llama-3.1-8b, gpu: h100, dtype: fp9}}", "did you mean `fp8`?"),
        ("{cost: {modle: llama-3.1-8b, gpu: h100}}", "did you mean `model`?"),
        ("{cost: {file: none.json}}", "'none.json' cannot be used: No such file"),
        ("{cost: {file: none.json, gpu: h100}}", "`file` says everything: leave out gpu"),
        ("{cost: [demo]}", "expected a text or a mapping"),
    ],
)
def test_mistakes_have_a_line_and_a_way_out(group: str, said: str) -> None:
    """Unknown names with those that there are, what is missing, what does not fit, files that are not there."""
    found = mistakes(group)
    assert said in " ".join(found)
    assert all("line 3" in each for each in found)


def test_both_unknown_names_are_told_at_once() -> None:
    """A file is mended in one go."""
    assert len(mistakes("{cost: {model: warp, gpu: drive}}")) == 2


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    """JSON that is no calibration names the field that is wrong."""
    (tmp_path / "mine.json").write_text('{"about": "x"}')
    with pytest.raises(ConfigError, match="missing required field `cost`"):
        read_scenario(f"{HEAD}fleet: [{{cost: {{file: mine.json}}}}]\n", "s.yaml", tmp_path)


def test_a_cost_is_typed_as_it_stands_in_a_scenario(tmp_path: Path) -> None:
    """On a command line: a preset, a block, a file; mistakes are told in the same words."""
    (tmp_path / "mine.json").write_bytes(written(MINE))
    assert read_cost("demo", tmp_path) == NAMED["demo"]
    assert read_cost("{file: mine.json}", tmp_path) == MINE
    assert read_cost("{model: qwen3-8b, gpu: l40s}", tmp_path).about == "qwen3-8b in bf16 on 1 × L40S"
    for wrong in ("warp", "{model: warp, gpu: l40s}", "{", "3"):
        with pytest.raises(ConfigError):
            read_cost(wrong, tmp_path)


def test_a_file_that_nobody_read_is_no_engine() -> None:
    """Whoever builds a cost in code hears that its file must be read first."""
    with pytest.raises(ValueError, match="must be read first"):
        engine_of(Cost(file="mine.json"))
