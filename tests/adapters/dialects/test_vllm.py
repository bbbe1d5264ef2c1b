"""vLLM's dialect, against pages of a real vLLM 0.32 and against nonsense."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.dialects.vllm import Vllm
from penstock.base.nouns import EngineStats

DATA = Path(__file__).parent / "data"
VLLM = Vllm()


def page(**values: str) -> bytes:
    return "".join(f'vllm:{name}{{engine="0",model_name="m"}} {value}\n' for name, value in values.items()).encode()


def test_a_real_page() -> None:
    """The page of a real vLLM with four running requests and a warm prefix cache is read exactly."""
    assert VLLM.stats((DATA / "vllm_0_32_metrics.txt").read_bytes()) == EngineStats(
        running=4,
        waiting=0,
        kv_usage=0.0021975338786472953,
        prefix_queries=5467,
        prefix_hits=4608,
        kv_tokens=1_048_576,
        kv_block_tokens=128,
    )


def test_a_real_models_page() -> None:
    """The models page of a real vLLM names its one model."""
    assert VLLM.models((DATA / "vllm_0_32_models.json").read_bytes()) == ("tiny",)


def test_older_names() -> None:
    """An older server is understood by the names it had."""
    body = page(
        num_requests_running="2.0",
        num_requests_waiting="1.0",
        gpu_cache_usage_perc="0.25",
        gpu_prefix_cache_queries_total="1e3",
        gpu_prefix_cache_hits_total="10",
    )
    assert VLLM.stats(body) == EngineStats(running=2, waiting=1, kv_usage=0.25, prefix_queries=1000, prefix_hits=10)


def test_the_newer_name_wins() -> None:
    """A server with both names of a number is read by the newer one."""
    assert VLLM.stats(page(gpu_cache_usage_perc="0.9", kv_cache_usage_perc="0.1")).kv_usage == 0.1


def test_several_engines_are_one_replica() -> None:
    """Counts of data-parallel engines are summed, their KV usage is the mean."""
    body = b"".join(
        b'vllm:num_requests_running{engine="%d"} 3.0\nvllm:kv_cache_usage_perc{engine="%d"} 0.%d\n' % (n, n, n)
        for n in range(4)
    )
    stats = VLLM.stats(body)
    assert stats.running == 12
    assert stats.kv_usage == pytest.approx(0.15)


def test_labels_may_hold_anything() -> None:
    """Braces, quotes, spaces and numbers inside a label's value do not disturb."""
    body = b'vllm:num_requests_running{model_name="a} 9 \\"b\\" {",engine="0"} 5 1700000000000\n'
    assert VLLM.stats(body).running == 5


def test_names_that_only_begin_alike_are_others() -> None:
    """`..._by_reason`, `..._created` and comment lines are not read as our numbers."""
    body = (
        b"# HELP vllm:num_requests_running 7\n"
        b'vllm:num_requests_waiting_by_reason{reason="capacity"} 8.0\n'
        b"vllm:prefix_cache_hits_created 1.7e9\n"
        b" vllm:num_requests_running 9\n"
        b"vllm:num_requests_waiting 1\n"
    )
    assert VLLM.stats(body) == EngineStats(waiting=1)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1.0", "1e30"])
def test_numbers_that_cannot_be_true_are_left_out(value: str) -> None:
    """NaN, infinities, negative and absurd numbers are no numbers; the others on the page still count."""
    body = page(num_requests_running=value, kv_cache_usage_perc=value, num_requests_waiting="3")
    assert VLLM.stats(body) == EngineStats(waiting=3)


def test_a_share_above_one_is_left_out() -> None:
    """A KV usage of 40 is a server that means something else."""
    assert VLLM.stats(page(kv_cache_usage_perc="40", num_requests_waiting="0")).kv_usage is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>502 Bad Gateway</html>", b"\xff\xfe\x00", b"vllm:num_requests_running x\n"]
)
def test_another_page_is_an_error(body: bytes) -> None:
    """A page without our numbers, or with words for numbers, is a failed scrape, not an idle engine."""
    with pytest.raises(ValueError):
        VLLM.stats(body)


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(0, 2000))
def test_nothing_but_value_error(noise: bytes, at: int) -> None:
    """Whatever a replica sends, reading ends in numbers or in ValueError."""
    real = (DATA / "vllm_0_32_metrics.txt").read_bytes()[-8000:]
    for body in (noise, real[:at] + noise + real[at:]):
        for parse in (VLLM.stats, VLLM.models):
            try:
                parse(body)
            except ValueError:
                pass


def test_alive_means_success() -> None:
    """Only 2xx of /health is alive."""
    assert [VLLM.alive(status) for status in (200, 204, 301, 401, 404, 500, 503)] == [True, True] + [False] * 5


def test_lora_adapters() -> None:
    """Of the combinations that stay on the page, the one of the latest time says which adapters run and wait."""
    body = b"""vllm:num_requests_running{engine="0"} 3.0
vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1.7886264577368872e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="ko,json",waiting_lora_adapters="sql"} 1.788626459e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="ko",waiting_lora_adapters="ko"} 1.7886264546318772e+09
"""
    assert VLLM.stats(body) == EngineStats(
        running=3, lora_slots=4, loras_running=("ko", "json"), loras_waiting=("sql",)
    )


def test_no_adapter_is_known_where_none_runs() -> None:
    """With LoRA on and idle there are none, which is more than not knowing."""
    body = b'vllm:lora_requests_info{max_lora="many",running_lora_adapters="",waiting_lora_adapters=""} 1.0\n'
    assert VLLM.stats(body) == EngineStats(loras_running=(), loras_waiting=())


def test_the_size_of_the_kv_cache() -> None:
    """Engines add up; an older server tells its blocks alone; nonsense is no size."""
    newer = b'vllm:cache_config_info{block_size="16",engine="%d",kv_cache_size_tokens="1600",num_gpu_blocks="99"} 1.0\n'
    stats = VLLM.stats(newer % 0 + newer % 1)
    assert (stats.kv_tokens, stats.kv_block_tokens) == (3200, 16)
    older = VLLM.stats(b'vllm:cache_config_info{block_size="16",num_gpu_blocks="64"} 1.0\n')
    assert (older.kv_tokens, older.kv_block_tokens) == (1024, 16)
    broken = VLLM.stats(b'vllm:num_requests_running 1\nvllm:cache_config_info{block_size="x",num_gpu_blocks="-1"} 1\n')
    assert (broken.kv_tokens, broken.kv_block_tokens) == (None, None)
