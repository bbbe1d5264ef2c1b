"""Refusals are values in one table; exceptions are for bugs and for configuration mistakes.

Everything that can go wrong with a call, at the client's, at ours, or at the replica's, is one row here. Readers
(the HTTP face, metrics, retries, health) look at a row's flags, never at its name.
"""

from typing import Final, Literal

from msgspec import Struct


class Refusal(Struct, frozen=True):
    """One way in which a call does not get (all of) its answer."""

    label: str
    """Low-cardinality name: the metrics label and the `code` of the error body."""
    http: int
    """Status, as long as no byte of an answer was sent."""
    type: str
    """OpenAI's `error.type`."""
    grpc: str
    message: str
    """What the client reads. Never names a replica's address or repeats an upstream's text."""
    retryable: bool = False
    """Another attempt at the same call may end better."""
    blames_replica: bool = False
    """It counts against the health of the replica that was tried."""
    counts_for_slo: bool = True
    """It is our failure in the user's eyes (a client's own mistake is not)."""
    says_retry_after: bool = False
    unsent: bool = False
    """No byte of the request reached the replica: even a call that must not be done twice may be tried again."""
    free_failover: bool = False
    """The replica refused or closed before any byte of an answer: the first such failover of a call costs no budget."""


def _client(label: str, http: int, message: str, *, type: str = "invalid_request_error", grpc: str = "INVALID_ARGUMENT") -> Refusal:
    return Refusal(label, http, type, grpc, message, counts_for_slo=False)


def _limit(label: str, type: str, message: str) -> Refusal:
    return Refusal(
        label, 429, type, "RESOURCE_EXHAUSTED", message, counts_for_slo=False, says_retry_after=True
    )


def _replica(
    label: str, http: int, message: str, *, retryable: bool = True, blames: bool = True, unsent: bool = False,
    free: bool = False, retry_after: bool = False, grpc: str = "UNAVAILABLE",
) -> Refusal:  # fmt: skip
    return Refusal(
        label, http, "upstream_error", grpc, message, retryable=retryable, blames_replica=blames,
        unsent=unsent, free_failover=free, says_retry_after=retry_after,
    )  # fmt: skip


TABLE: Final[tuple[Refusal, ...]] = (
    # the client's own mistakes
    _client("bad_request", 400, "The request could not be understood."),
    _client("bad_http", 400, "The HTTP message is malformed or ambiguous."),
    _client("unauthorized", 401, "Missing or invalid API key. Send it as 'Authorization: Bearer KEY'.", type="authentication_error", grpc="UNAUTHENTICATED"),
    _client("forbidden", 403, "This API key may not do that.", type="permission_error", grpc="PERMISSION_DENIED"),
    _client("not_found", 404, "There is nothing at this path.", grpc="NOT_FOUND"),
    _client("model_not_found", 404, "The model does not exist here. GET /v1/models lists those that do.", grpc="NOT_FOUND"),
    _client("method_not_allowed", 405, "This path does not take that method.", grpc="UNIMPLEMENTED"),
    _client("request_timeout", 408, "The request did not arrive in time.", grpc="DEADLINE_EXCEEDED"),
    _client("duplicate_request_id", 409, "A request with this id is already in flight.", grpc="ALREADY_EXISTS"),
    _client("body_too_large", 413, "The request body is larger than the limit.", grpc="RESOURCE_EXHAUSTED"),
    _client("encoded_body", 415, "The request body is compressed. Send it as it is, without Content-Encoding."),
    _client("head_too_large", 431, "The request head is larger than the limit.", grpc="RESOURCE_EXHAUSTED"),
    _client("too_large", 413, "The request alone is larger than a limit allows. Ask for less.", type="tokens", grpc="RESOURCE_EXHAUSTED"),
    _client("no_price", 403, "The model has no price here, and a budget applies.", type="permission_error", grpc="PERMISSION_DENIED"),
    _limit("request_limit", "requests", "Too many requests. Try again later."),
    _limit("token_limit", "tokens", "Too many tokens. Try again later."),
    _limit("concurrency_limit", "requests", "Too many requests at once. Try again later."),
    _limit("budget_spent", "insufficient_quota", "The budget is spent. Try again later."),
    _client("client_gone", 499, "The client left.", type="client_error", grpc="CANCELLED"),
    # ours
    Refusal("queue_full", 429, "rate_limit_error", "RESOURCE_EXHAUSTED", "The queue is full. Try again later.", retryable=True, says_retry_after=True),
    Refusal("tenant_queue_full", 429, "rate_limit_error", "RESOURCE_EXHAUSTED", "Too many requests of this tenant are waiting. Try again later.", retryable=True, says_retry_after=True),
    Refusal("saturated", 429, "rate_limit_error", "RESOURCE_EXHAUSTED", "The engines are saturated: requests of this priority are refused for now. Try again later.", retryable=True, says_retry_after=True),
    Refusal("no_replica", 503, "service_unavailable", "UNAVAILABLE", "No replica can serve this model now. Try again later.", retryable=True, says_retry_after=True),
    Refusal("shutting_down", 503, "service_unavailable", "UNAVAILABLE", "The gateway is shutting down. Try again.", says_retry_after=True),
    Refusal("overloaded", 503, "service_unavailable", "UNAVAILABLE", "The gateway is at its limit of connections or memory. Try again later.", says_retry_after=True),
    Refusal("limits_away", 503, "service_unavailable", "UNAVAILABLE", "The store of limits that gateways share cannot be reached. Try again later.", says_retry_after=True),
    Refusal("queue_timeout", 504, "timeout_error", "DEADLINE_EXCEEDED", "The request waited too long for a free replica and was never sent to one.", retryable=True),
    Refusal("internal", 500, "internal_error", "INTERNAL", "An internal error. It was logged."),
    # a replica's
    _replica("connect_refused", 502, "The replica could not be reached.", unsent=True, free=True),
    _replica("connect_timeout", 504, "The replica could not be reached in time.", unsent=True, free=True, grpc="DEADLINE_EXCEEDED"),
    _replica("pending_full", 503, "Too many requests wait for a connection to the replica. Try again later.", blames=False, unsent=True, free=True, retry_after=True),
    _replica("stale_connection", 502, "The replica closed an idle connection.", blames=False, free=True),
    _replica("closed_early", 502, "The replica closed the connection before it answered.", free=True),
    _replica("bad_response", 502, "The replica's answer was not valid HTTP."),
    _replica("upstream_5xx", 502, "The replica answered with an error."),
    _replica("upstream_busy", 429, "The replicas are busy. Try again later.", blames=False, retry_after=True, grpc="RESOURCE_EXHAUSTED"),
    _replica("upstream_unavailable", 503, "The replica is not available. Try again later.", retry_after=True),
    _replica("upstream_auth", 502, "The replica refused the gateway's credentials."),
    _replica("first_byte_timeout", 504, "The replica did not begin to answer in time.", grpc="DEADLINE_EXCEEDED"),
    _replica("idle_timeout", 504, "The replica stopped in the middle of its answer.", grpc="DEADLINE_EXCEEDED"),
    _replica("died_mid_answer", 502, "The replica failed in the middle of its answer."),
    _replica("answer_too_large", 502, "The replica's answer passed a limit.", retryable=False),
    _replica("cut_by_shutdown", 503, "The gateway had to end before the answer was complete.", retryable=False, blames=False),
)  # fmt: skip

REFUSALS: Final[dict[str, Refusal]] = {row.label: row for row in TABLE}

Label = Literal[
    "bad_request", "bad_http", "unauthorized", "forbidden", "not_found", "model_not_found", "method_not_allowed",
    "request_timeout", "duplicate_request_id", "body_too_large", "encoded_body", "head_too_large", "too_large",
    "no_price", "request_limit", "token_limit", "concurrency_limit", "budget_spent", "client_gone", "queue_full",
    "tenant_queue_full", "saturated", "no_replica", "shutting_down", "overloaded", "limits_away", "queue_timeout", "internal", "connect_refused",
    "connect_timeout", "pending_full", "stale_connection", "closed_early", "bad_response", "upstream_5xx", "upstream_busy",
    "upstream_unavailable", "upstream_auth", "first_byte_timeout", "idle_timeout", "died_mid_answer",
    "answer_too_large", "cut_by_shutdown",
]  # fmt: skip


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` lists all of them, each with its path and a way out.
    `file`: the one that they are in, where a single one was read and they do not name it themselves."""

    def __init__(self, mistakes: list[str], file: str = "") -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
        self.file = file


def error_body(label: str, detail: str = "", param: str | None = None) -> dict[str, dict[str, str | None]]:
    """An error in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""
    row = REFUSALS[label]
    return {"error": {"message": detail or row.message, "type": row.type, "param": param, "code": label}}
