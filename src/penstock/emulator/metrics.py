"""/metrics: the Batcher's counters in Prometheus' text format, under the names and labels of a vLLM 0.32."""

from collections.abc import Iterable

from penstock.emulator.spec import EmulatorSpec
from penstock.engine.batcher import Batcher
from penstock.engine.counters import Histogram

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
NONSENSE = (
    "# TYPE vllm:num_requests_running gauge\n"
    'vllm:num_requests_running{engine="0"} NaN\n'
    'vllm:num_requests_waiting{engine="0"} -7.0\n'
    'vllm:kv_cache_usage_perc{engine="0"} 1e309\n'
    'vllm:prefix_cache_hits_total{engine="0" 12\n'
    "\x00\xff{{{ this is no metric\n"
)
"""What the fault `wrong_metrics` serves."""
LIES = {
    claim: "# TYPE vllm:num_requests_running gauge\n"
    f'vllm:num_requests_running{{engine="0"}} {running}\n'
    f'vllm:num_requests_waiting{{engine="0"}} {waiting}\n'
    f'vllm:kv_cache_usage_perc{{engine="0"}} {kv_usage}\n'
    for claim, running, waiting, kv_usage in (("idle", 0.0, 0.0, 0.0), ("full", 256.0, 100_000.0, 1.0))
}
"""What the fault `lying_metrics` serves, by what it claims."""


def render(batcher: Batcher, spec: EmulatorSpec) -> str:
    """The whole page."""
    labels = f'engine="0",model_name="{_escaped(spec.model)}"'
    lines: list[str] = []
    for name, help_text, value in _gauges(batcher):
        lines += _header(name, help_text, "gauge")
        lines.append(f"{name}{{{labels}}} {float(value)}")
    for name, help_text, total in _totals(batcher):
        lines += _header(name, help_text, "counter")
        lines.append(f"{name}{{{labels}}} {float(total)}")
    lines += _finished(batcher, labels)
    for name, help_text, histogram in _histograms(batcher):
        lines += _header(name, help_text, "histogram")
        lines += _buckets(name, labels, histogram)
    lines += _cache_config(spec)
    return "\n".join(lines) + "\n"


def _gauges(batcher: Batcher) -> Iterable[tuple[str, str, float]]:
    yield "vllm:num_requests_running", "Requests that have a seat.", batcher.running
    yield "vllm:num_requests_waiting", "Requests that wait for a seat or for memory.", batcher.waiting
    yield "vllm:kv_cache_usage_perc", "Share of the KV blocks that requests hold, 0 to 1.", batcher.memory.usage


def _totals(batcher: Batcher) -> Iterable[tuple[str, str, int]]:
    counters = batcher.counters
    yield "vllm:prefix_cache_queries_total", "Tokens looked up in the prefix cache.", counters.prefix_queries
    yield "vllm:prefix_cache_hits_total", "Tokens found in the prefix cache.", counters.prefix_hits
    yield "vllm:num_preemptions_total", "Requests whose memory was taken back.", counters.preemptions
    yield "vllm:prompt_tokens_total", "Prompt tokens processed.", counters.prompt_tokens
    yield "vllm:prompt_tokens_cached_total", "Prompt tokens found in the cache.", counters.prefix_hits
    yield "vllm:generation_tokens_total", "Tokens generated.", counters.generation_tokens


def _histograms(batcher: Batcher) -> Iterable[tuple[str, str, Histogram]]:
    counters = batcher.counters
    yield "vllm:request_prompt_tokens", "Prompt tokens of a request.", counters.request_prompt_tokens
    yield "vllm:request_generation_tokens", "Generated tokens of a request.", counters.request_generation_tokens
    yield "vllm:iteration_tokens_total", "Tokens of an engine step.", counters.step_tokens
    yield "vllm:time_to_first_token_seconds", "Seconds to the first token.", counters.ttft_s
    yield "vllm:inter_token_latency_seconds", "Seconds between two tokens.", counters.inter_token_s
    yield (
        "vllm:request_time_per_output_token_seconds",
        "Mean seconds a token after the first, by request.",
        counters.time_per_output_token_s,
    )
    yield "vllm:e2e_request_latency_seconds", "Seconds of a whole request.", counters.e2e_s
    yield "vllm:request_queue_time_seconds", "Seconds before the first seat.", counters.queue_s
    yield "vllm:request_inference_time_seconds", "Seconds from the first seat to the end.", counters.inference_s
    yield "vllm:request_prefill_time_seconds", "Seconds from the first seat to the first token.", counters.prefill_s
    yield "vllm:request_decode_time_seconds", "Seconds from the first token to the end.", counters.decode_s


def _finished(batcher: Batcher, labels: str) -> list[str]:
    name, engine, model = "vllm:request_success_total", *labels.split(",", 1)
    ended = {**batcher.counters.finished, "error": 0, "repetition": 0}
    lines = _header(name, "Requests that ended, by reason.", "counter")
    return lines + [f'{name}{{{engine},finished_reason="{why}",{model}}} {float(n)}' for why, n in ended.items()]


def _buckets(name: str, labels: str, histogram: Histogram) -> list[str]:
    engine, model = labels.split(",", 1)
    lines, total = [], 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts):
        total += count
        lines.append(f'{name}_bucket{{{engine},le="{bound}",{model}}} {float(total)}')
    return [*lines, f"{name}_count{{{labels}}} {float(total)}", f"{name}_sum{{{labels}}} {float(histogram.sum)}"]


def _cache_config(spec: EmulatorSpec) -> list[str]:
    facts = {
        "block_size": spec.block_size, "cache_dtype": "auto", "enable_prefix_caching": True, "engine": 0,
        "gpu_memory_utilization": 0.92, "kv_cache_size_tokens": spec.kv_blocks * spec.block_size,
        "num_gpu_blocks": spec.kv_blocks, "num_gpu_blocks_override": spec.kv_blocks,
        "prefix_caching_hash_algo": "sha256",
    }  # fmt: skip
    name = "vllm:cache_config_info"
    labels = ",".join(f'{fact}="{value}"' for fact, value in facts.items())
    return [*_header(name, "How the KV cache is set up, as labels.", "gauge"), f"{name}{{{labels}}} 1.0"]


def _header(name: str, help_text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
