"""The shape of a request's body, as far as it is looked into: a few fields, each as loose as no engine minds.

Apart from `peek`, which reads them, because that is compiled where the package is, and shapes cannot be.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_MODEL_CHARS = 512
MAX_CHOICES = 1024
MAX_TOKENS = 1 << 31


class StreamOptions(Struct, gc=False):
    """`stream_options`, as far as it is inspected."""

    include_usage: bool | None = None


Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]


class Fields(Struct, gc=False):
    """The inspected fields of a body."""

    model: Annotated[str, Meta(max_length=MAX_MODEL_CHARS)] | None = None
    stream: bool | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    best_of: Annotated[int, Meta(ge=0, le=MAX_CHOICES)] | None = None
    stream_options: StreamOptions | None = None
    n_predict: msgspec.Raw = msgspec.Raw()
    """Of llama-servers: what they go by before `max_tokens`, where it is there."""
    user: msgspec.Raw = msgspec.Raw()
    """As it stands there, whatever it is: a hint, over which no request is refused."""
    temperature: msgspec.Raw = msgspec.Raw()
    seed: msgspec.Raw = msgspec.Raw()
    """The same of both: engines say what is wrong with them."""


class Prompted(Fields, gc=False):
    """The same, and where the prompt lies: pieces of the body as they stand there, not copied, in the order in which
    chat templates put them. Whatever they are, no request is refused over them."""

    cache_salt: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()
