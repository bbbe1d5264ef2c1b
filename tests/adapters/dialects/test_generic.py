"""The dialect of a server of which nothing is known."""

import pytest

from penstock.adapters.dialects.generic import MAX_MODELS, Generic

GENERIC = Generic()


def test_models_in_order_each_once() -> None:
    """The ids of an OpenAI list, whatever else it says."""
    body = b'{"object":"list","data":[{"id":"b","owned_by":"x"},{"id":"a/b:latest"},{"id":"b"}],"more":1}'
    assert GENERIC.models(body) == ("b", "a/b:latest")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":null}',
        b'{"data":[{}]}',
        b'{"data":[{"id":1}]}',
        b'{"data":[{"id":""}]}',
        b'{"data":[{"id":"a\\nb"}]}',
        b'{"data":[{"id":"\xff"}]}',
        b'{"data":[{"id":"' + b"x" * 513 + b'"}]}',
        b'{"data":[' + b",".join([b'{"id":"x"}'] * (MAX_MODELS + 1)) + b"]}",
        b'{"data":' + b"[" * 100_000,
        b'{"more":' + b"[" * 100_000,
    ],
    ids=range(13),
)
def test_anything_else_is_an_error(body: bytes) -> None:
    """Wrong types, missing ids, hostile names, huge lists and deep nesting raise ValueError."""
    with pytest.raises(ValueError):
        GENERIC.models(body)


def test_alive_is_any_answer_of_a_living_server() -> None:
    """Wanting a key, or having no such page, is life; an error of the server is not."""
    alive = [status for status in range(100, 600) if GENERIC.alive(status)]
    assert alive == [*range(200, 300), 401, 403, 404, 405]


def test_it_has_no_metrics() -> None:
    """There is no metrics page to ask for."""
    assert GENERIC.stats_path is None
    with pytest.raises(ValueError):
        GENERIC.stats(b"")
