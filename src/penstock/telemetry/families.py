"""The table of all metric families, and the reference page that is written from it.

Names follow Prometheus' conventions: base units, `_total` for counters, one meaning a name.
"""

from typing import Literal

from msgspec import Struct

PREFIX = "penstock_"

Kind = Literal["counter", "gauge", "histogram"]


class Family(Struct, frozen=True):
    """One metric: its name without prefix (counters without `_total`), and what it means."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def shown(self) -> str:
        """The name as it is scraped."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"


_R = ("pool", "replica")
_M = ("pool", "model")

FAMILIES: tuple[Family, ...] = (
    Family("build_info", "gauge", ("version",), "Always 1; the label says which version runs."),
    # calls, as they ended
    Family(
        "requests", "counter", ("pool", "model", "outcome", "status", "priority", "stream"),
        "Calls that ended. outcome is ok or why not; status is the class of the HTTP status, such as 2xx.",
    ),
    Family(
        "request_duration_seconds", "histogram", _M, "From arrival to the end of the answer, if there was one."
    ),
    Family("time_to_first_token_seconds", "histogram", _M, "From arrival to the first content byte, if streamed."),
    Family("time_per_output_token_seconds", "histogram", _M, "Mean time between tokens, one value a streamed call."),
    Family("queue_time_seconds", "histogram", ("pool", "priority"), "Time that calls spent in the gateway's queue."),
    Family(
        "tokens", "counter", ("pool", "model", "kind"),
        "Tokens as engines counted them (prompt, completion, and cached ones among the prompt's), and cached_estimate: "
        "those that we believed to be cached where we sent the call. "
        "Where an engine gave no usage: relayed stream events count as completion.",
    ),
    Family("refusals", "counter", ("reason",), "Calls that were refused or broken off, by reason."),
    Family(
        "hedges", "counter", ("pool", "result"),
        "Calls that were slow enough for a second attempt at once. result: won, lost or neither where it was sent "
        "(the client got its answer, the other attempt's, or none of the two); no_budget or no_room where it was not.",
    ),
    Family("groups", "counter", ("calls",), "Requests to engines that carried several calls, by how many."),
    Family("tenant_requests", "counter", ("tenant",), "Calls that ended, by tenant."),
    Family("tenant_tokens", "counter", ("tenant", "kind"), "Tokens by tenant (prompt, completion)."),
    Family("tenant_cost", "counter", ("tenant",), "What its calls cost by the price list, in the list's currency."),
    # limits, as they stand
    Family(
        "limit_used_ratio", "gauge", ("kind", "account", "model", "limit"),
        "Share of a limit that is used or held, of a tenant, a key or everybody; model is empty where it is for all.",
    ),
    Family("limit_waiting", "gauge", ("tenant",), "Calls of a tenant that wait until its limits let them pass."),
    # attempts and looks, by replica
    Family("attempts", "counter", ("replica",), "Attempts sent to a replica."),
    Family("retries", "counter", ("replica",), "Attempts sent to a replica that were not the call's first."),
    Family("attempt_failures", "counter", ("replica", "reason"), "Attempts that failed, by reason."),
    Family("probes", "counter", ("replica", "result"), "Health probes that came back (ok, failed)."),
    Family("scrapes", "counter", ("replica", "result"), "Readings of an engine's own metrics (ok, failed)."),
    # replicas, as they stand
    Family("replica_state", "gauge", (*_R, "state"), "1 for the state that the replica is in, 0 for the others."),
    Family("replica_breaker", "gauge", (*_R, "state"), "1 for the state of its circuit breaker, 0 for the others."),
    Family("replica_suspect", "gauge", _R, "1 while it gets one call at a time after failures in a row."),
    Family("replica_ejected", "gauge", _R, "1 while it is put out because it did worse than the others."),
    Family("replica_in_flight", "gauge", _R, "Calls that it is working on."),
    Family("replica_pinned", "gauge", _R, "Calls that wait in the gateway for it and no other."),
    Family("replica_seats", "gauge", _R, "Calls that it may work on at once."),
    Family("replica_load", "gauge", _R, "Load score: 0.7 x in flight / seats + 0.3 x queued / queue size."),
    Family("replica_error_ratio", "gauge", _R, "Share of recent attempts that failed by its fault."),
    Family("replica_ttft_seconds", "gauge", _R, "Moving average of its time to first content byte."),
    Family(
        "replica_benchmark_ttft_seconds", "gauge", _R, "Time to first token that its last benchmark measured, if any."
    ),
    Family(
        "replica_benchmark_tokens_per_second", "gauge", _R, "Speed of an answer that its last benchmark measured."
    ),
    Family("replica_served", "counter", _R, "Calls that it answered."),
    Family("replica_failed", "counter", _R, "Attempts that failed by its fault."),
    Family("engine_running", "gauge", _R, "Requests that its engine says it is running."),
    Family("engine_waiting", "gauge", _R, "Requests that its engine says are waiting in it."),
    Family("engine_kv_usage_ratio", "gauge", _R, "Share of its KV cache in use."),
    Family("engine_gpu_utilisation_ratio", "gauge", _R, "How busy its GPU is."),
    Family("engine_prefix_queries", "counter", _R, "Tokens that its engine looked up in the prefix cache."),
    Family("engine_prefix_hits", "counter", _R, "Tokens that its engine found there."),
    Family("engine_stats_age_seconds", "gauge", _R, "How old the engine's own numbers are."),
    # pools, as they stand
    Family("queue_depth", "gauge", ("pool", "priority"), "Calls that wait in the gateway."),
    Family("queue_bytes", "gauge", ("pool",), "Bytes of their bodies."),
    Family("queue_oldest_seconds", "gauge", ("pool",), "How long the oldest of them has waited."),
    Family("pool_in_flight", "gauge", ("pool",), "Calls that the pool's replicas are working on."),
    Family("pool_seats", "gauge", ("pool",), "Calls that they may work on at once."),
    Family("pool_replicas", "gauge", ("pool",), "Replicas in the pool."),
    Family("pool_healthy_replicas", "gauge", ("pool",), "Replicas that can take calls."),
    # sources of replicas
    Family("source_replicas", "gauge", ("pool", "source"), "Replicas that a source of discovery has found."),
    Family("source_missing", "gauge", ("pool", "source"), "Those among them that its last answer lacked."),
    Family("source_age_seconds", "gauge", ("pool", "source"), "Since its last answer that could be used."),
    Family("source_looks", "counter", ("pool", "source", "result"), "Times that it was asked (ok, failed)."),
    Family("pool_panic", "gauge", ("pool",), "1 while so few replicas are well that ill ones get calls too."),
    Family("ejections", "counter", ("pool", "reason"), "Replicas that were put out as outliers, by what showed it."),
    # pools that scale themselves
    Family("scale_replicas", "gauge", ("pool", "state"), "Replicas that the pool runs by itself, by state of life."),
    Family("scale_wanted", "gauge", ("pool",), "Replicas that it should run, within all bounds."),
    Family("scale_recommended", "gauge", ("pool",), "Replicas that its metrics want in all, before any bound."),
    Family("scale_changes", "counter", ("pool", "direction"), "Decisions for more (up) or fewer (down) replicas."),
    Family("scale_turns", "counter", ("pool",), "Changes that went the other way than the one before."),
    Family("scale_hourly_cost", "gauge", ("pool",), "What those that are there cost an hour."),
    Family("scale_failed_starts", "gauge", ("pool",), "Starts in a row that failed."),
    Family("scale_blind", "gauge", ("pool",), "1 while its actuator cannot say what runs, and nothing is ordered."),
    Family("scale_forecast_calls", "gauge", ("pool", "ahead"), "Calls at once that it expects so far ahead."),
    Family("scale_forecast_error_ratio", "gauge", ("pool", "ahead"), "How far off such forecasts were over a day."),
    Family("scale_forecast_acts", "gauge", ("pool",), "1 while its forecast is acted upon, not the metrics alone."),
    Family("scale_forecast_windows", "gauge", ("pool",), "Windows of five minutes that its forecast knows."),
    Family("scale_spent", "counter", ("pool", "purchase"), "What they have cost so far, by how they are paid for."),
    Family("scale_notices", "counter", ("pool",), "Replicas that their provider said it takes back."),
    Family("scale_spot_dry_seconds", "gauge", ("pool",), "Until spot is asked for again, because it could not be had."),
    Family("scale_min", "gauge", ("pool",), "Fewest replicas that it may have now, by its settings or a schedule."),
    Family("scale_max", "gauge", ("pool",), "Most replicas that it may have now, by its settings or a schedule."),
    Family("scale_scheduled", "gauge", ("pool",), "1 while a schedule says its bounds."),
    Family("scale_month_cost", "gauge", ("pool",), "What it has spent in this calendar month (UTC)."),
    Family("scale_ration", "gauge", ("pool",), "Most replicas that the rest of this month's budget is enough for now."),
    Family("scale_panic", "gauge", ("pool",), "1 while a burst is met at once, and nothing shrinks."),
    Family("scale_alarms", "counter", ("pool",), "Recommendations that cannot be meant; months' budgets used up."),
    # the cache
    Family(
        "cache_calls", "counter", ("state",),
        "Calls by what the cache had to do with them: hit, coalesced (another call's answer), miss, bypass, and with a "
        "semantic cache similar (another question's).",
    ),
    Family("cache_entries", "gauge", (), "Answers that are kept in memory."),
    Family("cache_bytes", "gauge", (), "Bytes of them."),
    Family("cache_kept", "counter", (), "Answers that were kept."),
    Family(
        "cache_let_go", "counter", ("why",), "Answers that are kept no more: evicted (no room), expired, invalidated."
    ),
    Family("cache_store_up", "gauge", (), "1 while the store that gateways share answers."),
    Family("cache_store_hits", "counter", (), "Answers that were found there."),
    Family("cache_store_misses", "counter", (), "Times when there was none, or it did not answer in time."),
    Family("cache_store_errors", "counter", (), "Times when it did not answer, or with an error."),
    Family("cache_workers_linked", "gauge", (), "Other workers that workers can ask, all together."),
    Family("cache_workers_asked", "counter", (), "Times when a worker asked another who leads with a key."),
    Family("cache_workers_late", "counter", (), "Times when one did not answer in time."),
    Family("cache_workers_followed", "counter", (), "Answers that a worker got from another while they were made."),
    Family("cache_workers_fetched", "counter", (), "Answers that a worker got from another that kept them."),
    Family("cache_embeddings_missed", "counter", (), "Times when a question got no embedding, and so was a miss."),
    Family("cache_following", "gauge", (), "Calls that wait for another call's answer."),
    # the ledger
    Family("ledger_rows", "counter", (), "Calls that were carried into the ledger's database."),
    Family("ledger_journal_bytes", "gauge", (), "Bytes of its journal that are not dealt with yet."),
    Family("ledger_database_up", "gauge", (), "1 while its database can be written; else rows wait in the journal."),
    Family("ledger_journal_up", "gauge", (), "1 while its journal can be written; else rows wait in memory."),
    Family("ledger_lost", "counter", (), "Records that are lost: neither disk nor memory had room."),
    Family("ledger_set_aside", "counter", (), "Records that were damaged, or that no database takes; files keep them."),
    # limits that are shared with other gateways
    Family("lease_messages", "counter", (), "Messages to the store of shared limits."),
    Family("lease_grants", "counter", (), "Those of them that were answered with a lease."),
    Family("lease_lost", "counter", (), "Those that were not answered."),
    Family("lease_store_up", "gauge", (), "1 while the store of shared limits answers."),
    # the gateway itself
    Family("gateway_held", "gauge", ("what",), "What the gateway holds now: connections, calls, bytes and the like."),
    Family("gateway_events", "counter", ("what",), "What has happened at its sockets, in all."),
    # its workers, where it has several
    Family("worker_up", "gauge", ("worker",), "1 while the worker serves, 0 until it is started again."),
    Family("worker_cpu_seconds", "counter", ("worker",), "CPU time that it has used; begins anew with its process."),
)  # fmt: skip

BY_NAME = {family.name: family for family in FAMILIES}


def reference() -> str:
    """The reference page of all metrics, Markdown."""
    lines = [
        "# Metrics",
        "",
        "What the gateway shows to Prometheus at `/metrics` of the admin address, and at the `metrics` address if set.",
        "Standard `process_*` metrics (CPU, memory, open files) stand beside them. Replicas appear with their id.",
        "Only the first 200 models, tenants and pools get a label of their own; the rest share `other`, and so does",
        "a model's name to which no replica has ever answered. This page is generated from the code.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.shown}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"
