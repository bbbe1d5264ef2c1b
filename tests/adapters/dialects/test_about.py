"""Engines by what they say of themselves, on pages of real ones (vLLM, llama.cpp) and in forms that are documented."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.dialects.about import PAGES, about, joined, owner
from penstock.adapters.dialects.registry import DIALECTS
from penstock.base.nouns import Engine, EngineAbout

DATA = Path(__file__).parent / "data"


def page(**fields: Any) -> bytes:
    """A JSON object."""
    return json.dumps(fields).encode()


def listing(**fields: Any) -> bytes:
    """A list of one model."""
    return page(object="list", data=[{"id": "m", "object": "model", **fields}])


SGLANG = page(model_path="meta-llama/Llama-3.1-8B", max_running_requests=256, version="0.5.10", internal_states=[{}])
TGI = page(
    model_id="bigscience/bloom-560m", model_dtype="float16", max_concurrent_requests=128, max_best_of=2,
    max_input_tokens=1024, max_total_tokens=2048, version="3.3.4", sha=None, docker_label=None,
)  # fmt: skip
PROPS = (DATA / "llamacpp_0_5_props.json").read_bytes()
ROUTER_PROPS = page(
    role="router", max_instances=1, models_autoload=True, model_alias="llama-server", model_path="none",
    default_generation_settings={"params": None, "n_ctx": 0}, ui_settings={}, build_info="b1-0c1e570",
    cors_proxy_enabled=False,
)  # fmt: skip


@pytest.mark.parametrize(
    "models, found",
    [
        ((DATA / "vllm_0_32_models.json").read_bytes(), "vllm"),
        (listing(owned_by="sglang", max_model_len=131072), "sglang"),
        (listing(owned_by="Triton Inference Server"), "triton"),
        ((DATA / "llamacpp_0_5_models.json").read_bytes(), "llamacpp"),
        ((DATA / "llamacpp_0_5_router_models.json").read_bytes(), "llamacpp"),
        ((DATA / "llamacpp_router_documented.json").read_bytes(), "generic"),
        (listing(owned_by="library"), "generic"),
        (listing(owned_by=7), "generic"),
        (listing(), "generic"),
        (page(data=[]), "generic"),
        (page(data=["x"]), "generic"),
    ],
    ids=range(11),
)
def test_the_list_of_models_is_signed(models: bytes, found: Engine) -> None:
    """By the engine's own name, where it writes one; otherwise it could be anybody."""
    assert owner(models).engine == found


def test_the_list_of_models_may_tell_the_longest_context() -> None:
    """vLLM and SGLang do."""
    assert owner(listing(owned_by="sglang", max_model_len=131072)).max_model_len == 131072
    assert (owner((DATA / "vllm_0_32_models.json").read_bytes()).max_model_len or 0) > 0
    assert owner(listing(owned_by="vllm", max_model_len=True)).max_model_len is None
    assert owner(listing(owned_by="vllm", max_model_len=-1)).max_model_len is None


@pytest.mark.parametrize(
    "engine, body, told",
    [
        ("vllm", page(version="0.32.0"), EngineAbout(engine="vllm", version="0.32.0")),
        ("sglang", SGLANG, EngineAbout(engine="sglang", version="0.5.10", seats=256)),
        ("tgi", TGI, EngineAbout(engine="tgi", version="3.3.4", max_model_len=2048, seats=128)),
        ("llamacpp", PROPS, EngineAbout(engine="llamacpp", version="b1-0c1e570", max_model_len=32768, seats=2)),
        ("llamacpp", ROUTER_PROPS, EngineAbout(engine="llamacpp", version="b1-0c1e570")),
        ("ollama", page(version="0.12.3"), EngineAbout(engine="ollama", version="0.12.3")),
    ],
)
def test_what_each_says_of_itself(engine: Engine, body: bytes, told: EngineAbout) -> None:
    """Version and limits; a number that an engine leaves open is not known."""
    assert about(engine, body) == told
    assert engine in DIALECTS


def test_limits_that_an_engine_leaves_open() -> None:
    """SGLang that works out its own bound says null; older llama-servers tell no build."""
    assert about("sglang", page(model_path="m", version="1", max_running_requests=None)).seats is None
    assert about("llamacpp", page(default_generation_settings={})) == EngineAbout(engine="llamacpp")


@pytest.mark.parametrize("engine", sorted(PAGES))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        page(version=7),
        page(version="a\nb"),
        page(version="x" * 65),
        b"[" * 100_000,
    ],
    ids=range(9),
)
def test_any_other_page_is_an_error(engine: Engine, body: bytes) -> None:
    """Nonsense, hostile depth, and a version that is none raise ValueError and nothing else."""
    with pytest.raises(ValueError):
        about(engine, body)
    if body[:1] != b"{":
        with pytest.raises(ValueError):
            owner(body)


@pytest.mark.parametrize("engine", ["sglang", "tgi", "llamacpp"])
def test_one_engine_is_not_taken_for_another(engine: Engine) -> None:
    """A page with a version alone could be anybody's."""
    with pytest.raises(ValueError):
        about(engine, page(version="1.0"))


def test_two_tellings_are_one() -> None:
    """The second knows better, and what it does not say the first may."""
    first = EngineAbout(engine="generic", max_model_len=5, seats=1)
    assert joined(first, EngineAbout(engine="tgi", version="3", seats=2)) == EngineAbout(
        engine="tgi", version="3", max_model_len=5, seats=2
    )
