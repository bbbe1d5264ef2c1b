"""Limits on the wire: what is written into requests, and what heads tell of them."""

import pytest

from penstock.base.nouns import Rates
from penstock.core.events import Arrived
from tests.helpers.plane import serving
from tests.helpers.wire import Client, Engine, answer, request, run

LONGEST = [
    ("/v1/chat/completions", b'{"model":"m"}', b'{"max_tokens":77,"model":"m"}', 77),
    ("/v1/responses", b'{"model":"m"}', b'{"max_output_tokens":77,"model":"m"}', 77),
    ("/v1/responses", b'{"model":"m","max_output_tokens":5}', b'{"model":"m","max_output_tokens":5}', 5),
    ("/v1/chat/completions", b'{"model":"m","max_completion_tokens":5}', b'{"model":"m","max_completion_tokens":5}', 5),
    ("/v1/completions", b'{"model":"m","max_tokens":null}', b'{"model":"m","max_tokens":77}', 77),
    # what a path's engines do not read says nothing; of two names that chats have the larger counts
    (
        "/v1/chat/completions",
        b'{"max_output_tokens":1,"model":"m"}',
        b'{"max_tokens":77,"max_output_tokens":1,"model":"m"}',
        77,
    ),
    (
        "/v1/completions",
        b'{"max_completion_tokens":1,"model":"m"}',
        b'{"max_tokens":77,"max_completion_tokens":1,"model":"m"}',
        77,
    ),
    ("/v1/messages", b'{"max_completion_tokens":1,"max_tokens":9,"model":"m"}', None, 9),
    ("/v1/responses", b'{"max_tokens":1,"model":"m"}', b'{"max_output_tokens":77,"max_tokens":1,"model":"m"}', 77),
    ("/v1/chat/completions", b'{"max_tokens":900,"max_completion_tokens":1,"model":"m"}', None, 900),
    ("/v1/chat/completions", b'{"max_tokens":1,"max_completion_tokens":900,"model":"m"}', None, 900),
    ("/v1/embeddings", b'{"model":"m"}', b'{"model":"m"}', None),
    ("/generate", b'{"prompt":"x","max_tokens":9}', None, 9),
    ("/generate", b'{"prompt":"x"}', b'{"prompt":"x"}', None),
]


@pytest.mark.parametrize("path,sent,got,told", LONGEST)
def test_the_longest_answer_is_spliced_in_where_a_limit_asks(
    path: str, sent: bytes, got: bytes | None, told: int | None
) -> None:
    """Where the request does not say, in the field that its path has; the Gate hears what the engine will read."""

    async def main() -> None:
        async with (
            Engine([[answer()]]) as engine,
            serving(engine, server={"most_tokens": 77}) as rig,
            Client(rig.port) as client,
        ):
            client.send(request(sent, path=path))
            assert (await client.answer()).status == 200
            assert engine.got[0].body == (sent if got is None else got)
            assert rig.gate.told(Arrived)[0].call.max_tokens == told

    run(main)


@pytest.mark.parametrize(
    "fields,answers",
    [
        (b"", 1),
        (b',"n":3', 3),
        (b',"best_of":20', 20),
        (b',"n":3,"best_of":2,"prompt":["a","b"]', 6),
        (b',"best_of":0', 1),
    ],
)
def test_all_answers_that_an_engine_makes_count(fields: bytes, answers: int) -> None:
    """Of `best_of` one is shown, or `n`, and all are made, for each prompt."""

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            client.send(request(b'{"model":"m"%b}' % fields, path="/v1/completions"))
            assert (await client.answer()).status == 200
            assert rig.gate.told(Arrived)[0].call.choices == answers

    run(main)


@pytest.mark.parametrize("most", [None, 77], ids=["no limit", "a limit"])
def test_what_would_go_before_the_longest_answer_is_refused_where_a_limit_asks(most: int | None) -> None:
    """A llama-server goes by `n_predict` whatever `max_tokens` says, and no other engine reads it: what one may have
    could not be held. Without limits it passes, as anything does that nobody here knows."""

    async def main() -> None:
        async with (
            Engine([[answer()]]) as engine,
            serving(engine, server={"most_tokens": most}) as rig,
            Client(rig.port) as client,
        ):
            client.send(request(b'{"model":"m","max_tokens":1,"n_predict":-1}'))
            found = await client.answer()
            assert found.status == (200 if most is None else 400)
            assert (b'"param":"n_predict"' in found.body) == (most is not None)
            client.send(request(b'{"model":"m","max_tokens":1,"n_predict":null}'))
            assert (await client.answer()).status == 200
            assert len(engine.got) == (2 if most is None else 1)

    run(main)


def test_the_answer_tells_its_client_of_limits() -> None:
    """What the Gate said stands in the heads of answers and of refusals."""
    rates = Rates(60, 59, 1.0, None, None, None)

    async def main() -> None:
        async with Engine([[answer()]]) as engine, serving(engine) as rig, Client(rig.port) as client:
            rig.gate.rates = rates
            for body, status in ((b'{"model":"m"}', 200), (b'{"model":"refused"}', 429)):
                client.send(request(body))
                got = await client.answer()
                assert (got.status, got.header("x-ratelimit-remaining-requests")) == (status, "59")

    run(main)
