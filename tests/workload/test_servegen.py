"""ServeGen's clients become requests that meet their rates and lengths; mistakes in the tables are located."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.base.rand import Rand
from penstock.workload.lines import TraceError
from penstock.workload.request import NS, Request
from penstock.workload.servegen import ServeGen

RATES = b"""client_id,t_s,rate_rps,interarrival_cv,arrival_pattern,param_shape,param_scale
0,0,2,1,Gamma,1,0.5
0,600,1,2,Gamma,0.25,4
0,3000,1,1,Weibull,1,1
7,600,0.5,3,Weibull,0.4,0.6
"""
LENGTHS = b"""client_id,t_s,field,mean,q0,q50,q100
0,0,input_tokens,15,10,15,20
0,0,output_tokens,3,1,3,5
0,0,reason_ratio,0.5,0,0.5,1
0,1800,input_tokens,150,100,150,200
0,1800,output_tokens,30,10,30,50
"""
IMAGES = b"""client_id,t_s,field,mean,q0,q100
0,0,text_tokens,15,10,10
0,0,image_tokens,15,100,100
0,0,output_tokens,3,1,1
"""


def made(seed: int = 1, rates: bytes = RATES, lengths: bytes = LENGTHS, **fields: Any) -> list[Request]:
    """The requests of these tables."""
    spec = ServeGen(rates="r", lengths="l", **fields)
    return list(spec.stream(Rand(seed), lambda name: [rates if name == "r" else lengths]))


def test_windows_have_their_counts() -> None:
    """Each client's window holds as many requests as its rate says, and windows without any are left out."""
    found = made()
    counts = Counter((request.tenant, request.at_ns // (600 * NS)) for request in found)
    assert counts == {("client-0", 0): 1200, ("client-0", 1): 600, ("client-0", 2): 600, ("client-7", 1): 300}
    assert [request.at_ns for request in found] == sorted(request.at_ns for request in found)


def test_gaps_can_stay() -> None:
    """With the gaps left in, the last window is where the tables have it."""
    assert made(skip_gaps=False)[-1].at_ns // (600 * NS) == 5


def test_lengths_are_those_of_the_time() -> None:
    """Lengths lie within the quantiles of the window that holds, and a client without lengths borrows another's."""
    for request in made():
        late = request.tenant == "client-0" and request.at_ns >= 1200 * NS
        assert (100 if late else 10) <= request.prompt_tokens <= (200 if late else 20)
        assert (10 if late else 1) <= request.output_tokens <= (50 if late else 5)


def test_parts_of_a_prompt_add_up() -> None:
    """A service of images has prompts of text and images together."""
    assert {request.prompt_tokens for request in made(lengths=IMAGES)} == {110}


def test_rate_is_scaled() -> None:
    """The whole can be scaled to a mean rate; what is broken of a window's count is decided by lot."""
    assert len(made(rate=0.15)) == pytest.approx(0.15 * 1800, abs=4)


def test_a_piece_of_time() -> None:
    """Only the windows of the wanted time are taken, and they begin at 0."""
    found = made(from_s=600.0, duration_s=600.0)
    assert Counter(request.tenant for request in found) == {"client-0": 600, "client-7": 300}
    assert found[-1].at_ns < 600 * NS


def test_the_choice_is_told() -> None:
    """How many clients and requests, the factor, and who borrows from whom."""

    def read(name: str) -> Iterator[bytes]:
        yield RATES if name == "r" else LENGTHS

    chosen = ServeGen(rates="r", lengths="l", rate=0.15).chosen(Rand(1), read)
    assert chosen == {
        "clients": 2, "windows": 3, "mean_rate_published": 1.5, "rate_factor": pytest.approx(0.1),
        "expected_requests": 270, "lengths_borrowed": {"7": "0"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "lengths", "said"),
    [
        (b"a,b\n", LENGTHS, "r, line 1: expected the columns client_id, t_s"),
        (RATES + b"1,x,1,1,Gamma,1,1\n", LENGTHS, "r, line 6, t_s: expected a number"),
        (RATES + b"1,0,1,1,Pareto,1,1\n", LENGTHS, "r, line 6, arrival_pattern: expected Gamma or Weibull"),
        (RATES + b"1,0\n", LENGTHS, "r, line 6: expected 7 columns"),
        (RATES.splitlines()[0], LENGTHS, "r: no client asked anything"),
        (RATES, LENGTHS.splitlines()[0], "l: no row has one of the fields"),
        (
            RATES,
            LENGTHS + b"9,0,input_tokens,1,1,1,1\n",
            "l: client 9, 0 s: expected lengths of prompts and of answers",
        ),
        (RATES, LENGTHS.replace(b"q50,q100", b"q100,q50"), "l, line 1: expected the columns of the quantiles in order"),
    ],
)
def test_mistakes(rates: bytes, lengths: bytes, said: str) -> None:
    """A mistake in a table is told with file, line and column."""
    with pytest.raises(TraceError) as caught:
        made(rates=rates, lengths=lengths)
    assert said in str(caught.value)
