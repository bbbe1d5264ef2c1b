"""The clients of a scenario: how long they wait, whether they ask again, whether they wait before they go on, and who
is greedy."""

from typing import Annotated

from msgspec import Meta, field

from penstock.base.units import Seconds
from penstock.config.strict import Strict


class Patience(Strict, frozen=True, kw_only=True):
    """How long clients wait, from their first try on. Who leaves closes the connection."""

    first_token_s: Annotated[Seconds | None, Meta(description="for the first token; none: for ever")] = field(
        default=None, name="first_token"
    )
    answer_s: Annotated[Seconds | None, Meta(description="for the whole answer; none: for ever")] = field(
        default=None, name="answer"
    )
    spread: Annotated[
        float,
        Meta(
            ge=0, le=5,
            description="0: all are equally patient; else the times above are medians, and this is the standard "
            "deviation of the logarithm of each request's factor on both",
        ),
    ] = 0.0  # fmt: skip

    def __post_init__(self) -> None:
        if self.first_token_s is None and self.answer_s is None:
            raise ValueError("patience without an end: give `first_token`, `answer` or both")


class ClientRetries(Strict, frozen=True, kw_only=True):
    """Clients that are refused with 429 or 503 ask again: after the Retry-After that they were told (up to a minute),
    else after a pause that doubles with each try and of which up to a quarter is left out by chance. As OpenAI's
    libraries do it, with their defaults."""

    attempts: Annotated[int, Meta(ge=2, description="tries in all, the first included")] = 3
    wait_s: Annotated[Seconds, Meta(description="pause before the second try")] = field(default=0.5, name="wait")
    most_wait_s: Annotated[Seconds, Meta(description="longest pause")] = field(default=8.0, name="most_wait")


class Clients(Strict, frozen=True, kw_only=True):
    """How clients behave. Without this block they wait for ever, take a refusal for an answer, and send what the
    workload says when it says."""

    patience: Annotated[Patience | None, Meta(description="how long they wait; none: for ever")] = None
    retries: Annotated[ClientRetries | None, Meta(description="how they ask again when refused; none: never")] = None
    closed: Annotated[
        bool,
        Meta(
            description="true: a session's next turn comes its pause (`think`) after the answer before it ended, "
            "however that went, and not when the workload guessed; what has no turns comes when the workload says"
        ),
    ] = False


class Greedy(Strict, frozen=True, kw_only=True):
    """One tenant asks for far more than usual: that is the last part of the workload, a merge. `penstock pressure`
    plays the scenario once more without that part, to see what it does to the others."""

    tenant: Annotated[str, Meta(description="who asks for more")]
    at_s: Annotated[Seconds, Meta(description="others' requests count that come from then on")] = field(name="at")
    for_s: Annotated[Seconds, Meta(description="and for so long")] = field(name="for")
