"""The nouns are frozen, travel through JSON unchanged and say what they promise by default."""

import msgspec
import pytest

from penstock.base.nouns import PRIORITIES, Call, CallRow, EngineStats, Replica, Usage

ROW = CallRow(
    id="c1", client_id="x", at=1.0, tenant="t", key="k", model="m", path="/v1/completions", pool="p", replica="a",
    outcome="ok", status=200, stream=True, priority=2, attempts=1, latency_s=1.0, ttft_s=None, queue_s=0.0,
    usage=Usage(1, 2, 3), relayed_tokens=2,
)  # fmt: skip


@pytest.mark.parametrize(
    "noun",
    [Call("c1", max_tokens=5), Replica(id="a", url="http://a", pool="p", gpus=("h100",)), EngineStats(running=1), ROW],
    ids=lambda noun: type(noun).__name__,
)
def test_a_noun_survives_being_written_and_read(noun: msgspec.Struct) -> None:
    """Encoded as JSON and decoded as its type it is the same, and it cannot be changed."""
    assert msgspec.json.decode(msgspec.json.encode(noun), type=type(noun)) == noun
    with pytest.raises(AttributeError):
        setattr(noun, noun.__struct_fields__[0], "other")


def test_a_replica_has_the_promised_defaults() -> None:
    """Eight seats, a queue of a hundred, weight 1, on demand, no backup [F1]; unknown fields are refused."""
    made = Replica(id="a", url="http://a", pool="p")
    assert (made.max_concurrent_requests, made.max_queue_size, made.weight) == (8, 100, 1.0)
    assert (made.purchase, made.backup, made.drain, made.engine) == ("on_demand", False, False, "generic")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"id": "a", "url": "http://a", "pool": "p", "wieght": 2}, Replica)


def test_a_call_is_of_normal_priority_and_repeatable() -> None:
    """The default index names `normal`; inference may be done twice."""
    made = Call("c1")
    assert PRIORITIES[made.priority] == "normal"
    assert made.repeatable
    assert not made.stream


def test_no_noun_has_room_for_a_prompt_or_a_secret() -> None:
    """What travels in facts and rows names keys and never holds them, nor any text of a request."""
    for noun in (Call, CallRow, Replica):
        assert not {"prompt", "body", "messages", "api_key", "authorization", "headers"} & set(noun.__struct_fields__)
