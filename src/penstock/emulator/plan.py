"""From a checked request to the sequences that the engine runs and the text that they will say."""

from msgspec import Struct

from penstock.emulator.replica import Job
from penstock.emulator.spec import EmulatorSpec
from penstock.emulator.text import Answer, answer, block_hashes, digest_of, drawn_length
from penstock.emulator.wire import Sampling, check_length
from penstock.engine.words import Finish


class Plan(Struct, frozen=True):
    """All sequences of one request: what each reads and what it will say."""

    jobs: list[Job]
    answers: list[Answer]
    choices: int
    """Sequences a prompt."""

    def usage(self, finishes: list[Finish]) -> "Spent":
        """Tokens as the engine counted them; a prompt counts once, however many choices it has."""
        return Spent(
            prompt=sum(finish.prompt_tokens for finish in finishes[:: self.choices]),
            completion=sum(finish.completion_tokens for finish in finishes),
            cached=sum(finish.cached_tokens for finish in finishes[:: self.choices]),
        )


class Spent(Struct, frozen=True):
    """Tokens of one request."""

    prompt: int
    completion: int
    cached: int


def plan(
    spec: EmulatorSpec,
    prompts: list[list[str]],
    body: Sampling,
    max_tokens: int | None,
    default_tokens: int | None = None,
) -> Plan:
    """What the engine will do for these prompts. Raises Wrong when one of them is too long.

    How long an answer is: `max_tokens` where it is given, exactly (reason "length"). With `"ignore_eos": false` it is
    only the limit of a natural length, which is drawn from the prompt (reason "stop"); without `max_tokens` that
    length holds, at least `min_tokens`. With `"ignore_eos": true` and no `max_tokens` the context is filled.
    """
    choices = 1 if body.n is None else body.n
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    jobs, answers = list[Job](), list[Answer]()
    for tokens in prompts:
        check_length(len(tokens), spec.max_model_len)
        room = spec.max_model_len - len(tokens)
        for choice in range(choices):
            digest = digest_of(tokens, f"{body.seed or 0}/{choice}/".encode())
            length, natural = _length(digest, body, max_tokens or default_tokens, room)
            said = answer(digest, length, "stop" if natural else "length", stops)
            hashes = block_hashes(tokens + said.tokens, spec.block_size)
            jobs.append(Job(len(tokens), len(said.tokens), hashes, said.reason == "stop"))
            answers.append(said)
    return Plan(jobs, answers, choices)


def _length(digest: bytes, body: Sampling, limit: int | None, room: int) -> tuple[int, bool]:
    """Tokens to generate, and whether it ends by itself with them."""
    limit = room if limit is None and body.ignore_eos else limit
    if limit is not None and body.ignore_eos is not False:
        return min(limit, room), False
    natural = max(drawn_length(digest), body.min_tokens or 0)
    bound = room if limit is None else min(limit, room)
    return min(natural, bound), natural <= bound
