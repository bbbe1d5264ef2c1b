"""A profile of kernels becomes a cost model that gives the profile's own times, with errors from points held back."""

import pytest

from penstock.engine.kernels import Attention, calibrate, read_attention, read_layers

TOKENS = ((1.0, 0.01), (100.0, 0.02))
SEQUENCES = ((1.0, 0.001), (64.0, 0.002))


def measured() -> list[Attention]:
    """Attention of an engine that is exactly linear, and slower with both kinds in a step."""
    points = []
    for chunk in (0, 16, 64):
        for decodes in (0, 1, 8, 32):
            for context in (16, 1024, 4096):
                if chunk or decodes:
                    read = decodes * context
                    seconds = 1e-4 + 1e-5 * decodes + 1e-7 * read
                    if chunk:
                        seconds += 1e-9 * chunk * (context + (chunk + 1) / 2) + 1e-7 * (read + 2 * context)
                    points.append(Attention(chunk, context if chunk else 0, decodes, context, seconds))
    return points


def test_tables_are_read() -> None:
    """Microseconds a layer become seconds of the model: a block's norm counts twice, the embedding once."""
    dense = ["layer,tokens,time_us", "qkv_proj,1,10", "layernorm,1,1", "embedding,1,3", "qkv_proj,2,10"]
    assert read_layers(dense, "tokens", 4)[0] == pytest.approx((1.0, 51e-6))
    heads = ["layer,sequences,time_us", "lm_head,1,100", "sampler,1,5", "lm_head,4,120", "sampler,4,6"]
    assert read_layers(heads, "sequences", 4)[1] == pytest.approx((4.0, 126e-6))
    attention = read_attention(["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", "16,32,0,0,5"], 4)
    assert attention == [pytest.approx(Attention(16, 32, 0, 0, 20e-6))]
    assert attention[0].regime == "prefill"


def test_what_is_linear_is_found() -> None:
    """The prices come back, and the points that were held back are met."""
    found = calibrate(measured(), TOKENS, SEQUENCES)
    assert found.held_back.p95 < 1e-6
    assert set(found.by_regime) <= {"decode", "prefill", "mixed"}
    assert found.cost.context_token_s == pytest.approx(1e-7, rel=0.05)
    assert found.cost.mixed_context_token_s == pytest.approx(1e-7, rel=0.05)


def test_what_is_not_linear_shows_in_the_errors() -> None:
    """An engine whose attention doubles at long context is not met, and the error says so."""
    bent = [p._replace(seconds=p.seconds * (20 if p.decode_context > 2000 else 1)) for p in measured()]
    assert calibrate(bent, TOKENS, SEQUENCES).held_back.p95 > 0.05
