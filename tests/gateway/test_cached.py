"""Kept answers on the wire: what is given again, what is never kept, and what clients are told."""

import pytest

from tests.helpers.caching import ask_for, caching
from tests.helpers.wire import CLOSE, answer, chunk, run, stream, SSE_HEAD, END, event, DONE

USED = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}'


def test_the_same_question_is_answered_from_memory() -> None:
    """The second one never reaches the engine, gets the same bytes, and both are told."""

    async def main() -> None:
        async with caching([answer(USED)]) as house:
            first = await house.ask(ask_for())
            second = await house.ask(ask_for())
            assert first.body == second.body == USED
            assert [one.header("x-penstock-cache") for one in (first, second)] == ["miss", "hit"]
            assert (first.header("age"), second.header("age")) == (None, "0")
            assert first.header("x-penstock-replica") == "r0"
            assert second.header("x-request-id") not in (None, first.header("x-request-id"))
            assert len(house.engine.got) == 1
            assert house.states() == ["miss", "hit"]
            assert [row.usage is not None for row in house.rows] == [True, False]
            assert [row.attempts for row in house.rows] == [1, 0]

    run(main)
