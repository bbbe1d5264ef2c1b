"""Which dialect an engine speaks. Built-in dialects are listed here, explicitly."""

from penstock.adapters.dialects.generic import Generic
from penstock.adapters.dialects.llamacpp import Llamacpp
from penstock.adapters.dialects.ollama import Ollama
from penstock.adapters.dialects.sglang import Sglang
from penstock.adapters.dialects.tgi import Tgi
from penstock.adapters.dialects.triton import Triton
from penstock.adapters.dialects.vllm import Vllm
from penstock.base.ports import Dialect

_BUILT_IN: tuple[Dialect, ...] = (Generic(), Vllm(), Sglang(), Tgi(), Triton(), Llamacpp(), Ollama())
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _BUILT_IN}


def dialect_of(engine: str) -> Dialect:
    """The dialect of an engine by its name in the configuration. Raises ValueError for one that nobody speaks."""
    try:
        return DIALECTS[engine]
    except KeyError:
        raise ValueError(f"no dialect for engine {engine!r}: known are {', '.join(DIALECTS)}") from None
