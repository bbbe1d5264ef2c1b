"""Limits over real sockets: bursts of sixty pass none of them, and nearly all of each is used."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.helpers.processes import Emulators, Gateway, ending
from tests.helpers.traffic import CHAT, ENDLESS, ask, at_rest, chat, order, pool, post, ready, said
from tests.helpers.wire import Answer, Client, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BURST, WAVES = 60, 4
KEYS = [{"name": "team", "key": "sk-team"}]


def limited(*urls: str, **allowance: Any) -> dict[str, Any]:
    """A gateway whose tenant `team` may use so much; a model's token costs a ten-thousandth."""
    return {
        "pools": [pool(*urls)], "keys": KEYS, "tenants": [{"name": "team", "limits": allowance}],
        "prices": {"tiny": {"prompt": 100, "completion": 100}}, "unknown_price": "refuse",
    }  # fmt: skip


async def burst(gateway: Gateway, body: bytes, count: int = BURST) -> list[Answer]:
    """So many at once, each on a connection of its own."""
    return await asyncio.gather(*[ask(gateway.port, body, key="sk-team") for _ in range(count)])


def tokens(answer: Answer) -> int:
    """What the engine counted."""
    found: int = json.loads(answer.body)["usage"]["total_tokens"]
    return found


def header(answer: Answer, name: str) -> str:
    """A header's value."""
    found = answer.header(name)
    assert found is not None, f"no {name}"
    return found


async def ails(port: int, *faults: dict[str, Any]) -> None:
    """From now on the engine at this port has just these faults."""
    assert (await ask(port, json.dumps(faults).encode(), "/emulator/faults")).status == 200


async def account(gateway: Gateway) -> dict[str, Any]:
    """The tenant's, as the admin API shows it."""
    views = await said(gateway.admin_port, "/admin/tenants")
    (found,) = (view for view in views if view["name"] == "team")
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "allowance, limit, per",
    [
        ({"requests_per_minute": 100}, 100, "request"),
        ({"requests_per_minute": 20}, 20, "request"),
        ({"tokens_per_minute": 1500}, 1500, "token"),
        ({"tokens_per_hour": 540}, 540, "token"),
        ({"budget_per_month": 0.15}, 1500, "token"),
    ],
)
def test_bursts_of_sixty_use_a_limit_and_never_pass_it(
    start: Start, engines: list[str], allowance: dict[str, Any], limit: int, per: str
) -> None:
    """What was served, by the engines' own counts, is at most the limit and at least nine tenths of it (all but one of
    a small one); refusals are 429 with a time, and the books agree with the engines to the token."""
    gateway = start(limited(engines[0], engines[1], **allowance))
    answers: list[Answer] = []

    async def main() -> None:
        await ready(gateway, 2)
        for _ in range(WAVES):
            answers.extend(await burst(gateway, chat(20)))
        served = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status != 200]
        used = len(served) if per == "request" else sum(map(tokens, served))
        sys.stdout.write(f"{allowance}: {used} of {limit} used, {len(served)} served, {len(refused)} refused\n")
        assert used <= limit
        assert used >= (0.9 * limit if limit >= 100 else limit - 1)
        assert {answer.status for answer in refused} == {429}
        assert all(int(header(answer, "retry-after")) > 0 for answer in refused)
        (gauge,) = (await account(gateway))["limits"]
        assert gauge["held"] == 0
        assert gauge["used"] == pytest.approx(used / 10_000 if "budget_per_month" in allowance else used)

    run(main, 60.0)


def test_answers_tell_what_is_left_and_refusals_when(start: Start, engines: list[str]) -> None:
    """OpenAI's six headers, its error shape, and a Retry-After that holds to the second."""
    gateway = start(limited(engines[0], requests_per_second=1, requests_per_minute=3, tokens_per_minute=5000))

    async def main() -> None:
        await ready(gateway)
        first = await ask(gateway.port, chat(5), key="sk-team")
        assert first.status == 200
        assert header(first, "x-ratelimit-limit-requests") == "1"
        assert header(first, "x-ratelimit-remaining-requests") == "0"
        assert header(first, "x-ratelimit-reset-requests").endswith(("ms", "s"))
        assert header(first, "x-ratelimit-limit-tokens") == "5000"
        assert 0 < int(header(first, "x-ratelimit-remaining-tokens")) < 5000
        assert header(first, "x-ratelimit-reset-tokens") in ("1m0s", "1m1s") or "m0." in header(
            first, "x-ratelimit-reset-tokens"
        )
        second = await ask(gateway.port, chat(5), key="sk-team")
        assert second.status == 429
        error = json.loads(second.body)["error"]
        assert (error["code"], error["type"]) == ("request_limit", "requests")
        assert "tenant team on requests per second" in error["message"]
        await asyncio.sleep(int(header(second, "retry-after")))
        assert (await ask(gateway.port, chat(5), key="sk-team")).status == 200
        large = await ask(gateway.port, chat(6000), key="sk-team")
        assert large.status == 413
        assert json.loads(large.body)["error"]["code"] == "too_large"

    run(main, 30.0)


def test_a_request_that_does_not_say_is_told_how_long_its_answer_may_be(start: Start, engines: list[str]) -> None:
    """`max_tokens` is written into it where a limit on tokens applies: a quarter of a small limit, and the emulator's
    endless answer ends there."""
    gateway = start(limited(engines[0], tokens_per_minute=400))
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}).encode()

    async def main() -> None:
        await ready(gateway)
        answer = await ask(gateway.port, body, key="sk-team")
        assert answer.status == 200
        assert json.loads(answer.body)["usage"]["completion_tokens"] <= 100

    run(main, 30.0)


def test_an_abandoned_stream_is_charged_what_was_relayed(start: Start, engines: list[str]) -> None:
    """A client leaves a long stream after some tokens: more than none and far fewer than all are charged."""
    gateway = start(limited(engines[3], tokens_per_minute=2 * ENDLESS))

    async def main() -> None:
        await ready(gateway)
        async with Client(gateway.port) as client:
            client.send(post(chat(ENDLESS, stream=True), CHAT, key="sk-team"))
            data = b""
            while data.count(b"data: ") < 6:
                data += await client.reader.read(1 << 16)
            (before,) = (await account(gateway))["limits"]
            assert before["held"] >= ENDLESS
        await at_rest(gateway)
        (after,) = (await account(gateway))["limits"]
        assert after["held"] == 0
        assert 5 <= after["used"] <= 300

    run(main, 30.0)


def test_limits_change_and_forget_nothing(start: Start, engines: list[str]) -> None:
    """A reload raises a limit that was used up: what was used counts on."""
    file = limited(engines[0], requests_per_hour=10)
    gateway = start(file)

    async def main() -> None:
        await ready(gateway)
        assert [answer.status for answer in await burst(gateway, chat(1), 15)].count(200) == 10
        gateway.tree["tenants"][0]["limits"]["requests_per_hour"] = 25
        gateway.write(gateway.tree)
        status, changed = await order(gateway, "POST", "/admin/reload")
        assert (status, changed) == (200, {"changes": ["limits of tenant team: requests_per_hour: 10 -> 25"]})
        assert [answer.status for answer in await burst(gateway, chat(1), 40)].count(200) == 15

    run(main, 40.0)


def test_failed_attempts_are_not_charged(start: Start, tmp_path: Path) -> None:
    """Replicas that refuse and break off at random: requests and tokens charged are those of the answers that clients
    got, to the token, however many attempts each took."""
    emulators = Emulators(tmp_path, 1.0, 1.0)
    with ending(emulators):
        gateway = start(limited(*emulators.urls, requests_per_hour=1000, tokens_per_hour=100_000))

        async def main() -> None:
            await ready(gateway, 2)
            for port in emulators.ports:
                await ails(port, {"kind": "status", "status": 503, "probability": 0.3})
            answers = [answer for _ in range(3) for answer in await burst(gateway, chat(20), 40)]
            served = [answer for answer in answers if answer.status == 200]
            attempts = sum(int(header(answer, "x-penstock-attempts")) for answer in answers)
            assert attempts > len(answers)
            requests, used = (await account(gateway))["limits"]
            assert (requests["used"], used["used"], used["held"]) == (len(served), sum(map(tokens, served)), 0)

        run(main, 60.0)


def test_twenty_abandoned_streams_are_charged_about_what_was_generated(start: Start, engines: list[str]) -> None:
    """Each client leaves a stream of a hundred tokens after five: no fewer are charged, and not many more."""
    gateway = start(limited(engines[3], tokens_per_minute=100_000))

    async def leaves() -> None:
        async with Client(gateway.port) as client:
            client.send(post(chat(100, stream=True), CHAT, key="sk-team"))
            data = b""
            while data.count(b"data: ") < 6:
                data += await client.reader.read(1 << 16)

    async def main() -> None:
        await ready(gateway)
        whole = await ask(gateway.port, chat(1), key="sk-team")
        (before,) = (await account(gateway))["limits"]
        assert before["used"] == tokens(whole)
        await asyncio.gather(*[leaves() for _ in range(20)])
        await at_rest(gateway)
        (after,) = (await account(gateway))["limits"]
        generated = after["used"] - before["used"] - 20 * json.loads(whole.body)["usage"]["prompt_tokens"]
        assert after["held"] == 0
        assert 80 <= generated <= 1200

    run(main, 60.0)
