"""/metrics is what Prometheus and a gateway's vLLM dialect expect to read."""

from prometheus_client.parser import text_string_to_metric_families

from penstock.emulator.metrics import render
from penstock.emulator.spec import EmulatorSpec
from penstock.engine.batcher import Batcher
from penstock.engine.words import Submit, Woke

READ_BY_GATEWAYS = {
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
    "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total", "vllm:num_preemptions_total", "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_bucket", "vllm:inter_token_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket", "vllm:cache_config_info",
}  # fmt: skip


def samples(batcher: Batcher, spec: EmulatorSpec) -> dict[tuple[str, str], float]:
    """Values by name and the label that tells series apart."""
    found = {}
    for family in text_string_to_metric_families(render(batcher, spec)):
        for sample in family.samples:
            apart = sample.labels.get("finished_reason") or sample.labels.get("le", "")
            found[sample.name, apart] = sample.value
            assert family.name == "vllm:cache_config_info" or sample.labels["model_name"] == spec.model
    return found


def test_the_numbers_are_the_engines() -> None:
    """Gauges, totals, reasons and histograms tell what the Batcher did."""
    spec = EmulatorSpec(model='a "b"\\c', kv_blocks=100, max_num_seqs=1)
    batcher = Batcher(spec.engine())
    batcher.on(Submit("a", 32, 4), 0.0)
    batcher.on(Submit("b", 16, 2, reason="stop"), 0.0)
    during = samples(batcher, spec)
    assert during["vllm:num_requests_running", ""] == 1
    assert during["vllm:num_requests_waiting", ""] == 1
    assert during["vllm:kv_cache_usage_perc", ""] == 0.02
    batcher.on(Woke(), 60.0)
    after = samples(batcher, spec)
    assert {name for name, _ in after} >= READ_BY_GATEWAYS
    assert after["vllm:prompt_tokens_total", ""] == 48
    assert after["vllm:generation_tokens_total", ""] == 6
    assert after["vllm:request_success_total", "stop"] == after["vllm:request_success_total", "length"] == 1
    assert after["vllm:time_to_first_token_seconds_count", ""] == 2
    assert after["vllm:time_to_first_token_seconds_bucket", "+Inf"] == 2
    assert after["vllm:inter_token_latency_seconds_bucket", "0.025"] == 4
