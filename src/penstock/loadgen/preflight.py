"""Before any load: does the target answer, does it take the key, and which model does it serve?

Knows the client and OpenAI's model list; says what is wrong in words for people.
"""

import msgspec

from penstock.loadgen.answer import Answer
from penstock.loadgen.client import Client


class Unready(Exception):
    """The target cannot take this load. The text says why, and what to do."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def model_of(client: Client, model: str | None) -> str:
    """The model to ask for: `model`, else the first that the target lists. Raises Unready."""
    answer = await client.ask("GET", "/v1/models")
    url = client.target.url
    if answer.status == 0:
        raise Unready(f"{url} does not answer ({_why(answer)}). Is it running there? Start one with `penstock serve`.")
    if answer.status in (401, 403):
        raise Unready(f"{url} refuses the key ({_why(answer)}). Give one with --key, or in PENSTOCK_API_KEY.")
    if model is not None:
        return model  # a target without a model list is fine where we need none
    names = _names(answer)
    if not names:
        raise Unready(f"{url}/v1/models lists no model ({_why(answer) or 'an empty list'}). Name one with --model.")
    return names[0]


def _why(answer: Answer) -> str:
    return answer.error.replace("_", " ")


def _names(answer: Answer) -> list[str]:
    try:
        return [model.id for model in msgspec.json.decode(answer.body, type=_Models).data]
    except msgspec.DecodeError:
        return []
