"""The page of built-in engines: it is as the tables are, and its numbers are the simulator's."""

from pathlib import Path

import pytest

from penstock.config.scenarios import Group, Policy
from penstock.core.spec import QueueSpec
from penstock.engine.hardware import GPUS
from penstock.engine.models import MODELS
from penstock.sim.engine_costs import AT_ONCE, OUTPUT_TOKENS, PROMPT_TOKENS, markdown, output_tokens_per_s, smallest
from penstock.sim.run import Run
from tests.sim.support import request, scenario

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/engine-costs.md"


@pytest.mark.slow
def test_the_page_is_as_the_tables_are() -> None:
    """Made again when a GPU, a model or a price changes."""
    assert PAGE.read_text() == markdown(), "penstock simulate --engines > docs/reference/engine-costs.md"


def test_the_fewest_gpus_that_hold_it() -> None:
    """One H200 for an 8B model, two H100 for 70B in FP8, nothing for DeepSeek on L4s."""
    one = smallest(MODELS["meta-llama/Meta-Llama-3.1-8B"], GPUS["H200-SXM"], "bf16")
    two = smallest(MODELS["meta-llama/Meta-Llama-3.1-70B"], GPUS["H100-SXM"], "fp8")
    assert one is not None
    assert two is not None
    assert (one[0], two[0]) == (1, 2)
    assert smallest(MODELS["deepseek-ai/DeepSeek-R1"], GPUS["L4"], "fp8") is None


@pytest.mark.slow
def test_the_tokens_a_second_are_what_a_simulation_finds() -> None:
    """Twenty rounds of as many requests as the table has at once, within a tenth: prompts come in batches there, and
    spread out here."""
    requests = [request(0.0, PROMPT_TOKENS, OUTPUT_TOKENS) for _ in range(20 * AT_ONCE)]
    for name in ("fast", "h200-8b-fp8"):
        group = Group(cost=name, seats=AT_ONCE)
        made = scenario(fleet=(group,), policy=Policy(queue=QueueSpec(timeout_s=10_000.0)))
        found = Run(made, made.policy, requests, 1).go().result
        assert found.ok == len(requests)
        assert found.output_tokens_per_s == pytest.approx(output_tokens_per_s(group.modelled()), rel=0.1)
