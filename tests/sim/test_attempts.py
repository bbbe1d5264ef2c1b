"""An attempt with several inputs: it is answered when all are done, and one that is refused spoils it."""

from penstock.base.nouns import Usage
from penstock.core.effects import Send
from penstock.core.events import Ended, Failed
from penstock.engine.words import Finish, Reject
from penstock.sim.attempts import Attempt
from tests.sim.support import request

ORDER = Send("g", 2, "r0", "model", 5.0, 10.0, 120.0, 0.0)


def attempt(inputs: int = 2) -> Attempt:
    """At an engine with so many inputs."""
    return Attempt(ORDER, 0.0, tuple((request(0.0, alike="k"), number) for number in range(inputs)))


def test_sequences_have_names_of_their_own() -> None:
    """The first one that of the attempt, so that one with one input is nothing special."""
    assert attempt(1).names == ("g/2",)
    assert attempt(3).names == ("g/2", "g/2#1", "g/2#2")


def test_only_what_is_alike_comes_whole() -> None:
    """Chats are streamed."""
    assert not attempt().streams
    assert Attempt(ORDER, 0.0, ((request(0.0), 0),)).streams


def test_it_is_answered_with_its_last_input() -> None:
    """With the sum of what all of them used; each one's part is kept."""
    asked = attempt()
    assert asked.took(Finish("g/2#1", 30, 0, 16, "length")) is None
    assert asked.took(Finish("g/2", 10, 0, 0, "length")) == Ended("g", 2, 200, Usage(40, 0, 16), 0)
    assert asked.parts == {"g/2": Usage(10, 0, 0), "g/2#1": Usage(30, 0, 16)}


def test_one_that_is_refused_spoils_it() -> None:
    """A full engine can be asked again; a bad input is found by asking each alone."""
    assert attempt().took(Reject("g/2", "queue_full")) == Failed("g", 2, "upstream_busy", 503)
    assert attempt().took(Reject("g/2", "too_long")) == Failed("g", 2, "bad_request", 400)
