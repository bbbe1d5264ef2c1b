"""How long a replica's steps take, as a scenario says it: a preset's name, what people know of their engine, or a file.

Names are looked up as they are typed (llama-3.1-8b, h100); one that is unknown is told with those that there are.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from penstock.base.errors import ConfigError
from penstock.config.document import NotYaml, parse
from penstock.config.mistakes import Mistakes, did_you_mean
from penstock.config.mistakes import Path as Place
from penstock.config.shape import Shape
from penstock.engine.computed import computed, matches, short
from penstock.engine.devices import Card
from penstock.engine.hardware import GPUS
from penstock.engine.modelled import NAMED, Modelled, read_modelled
from penstock.engine.models import MODELS

Type = Literal["bf16", "fp16", "fp32", "fp8", "int8", "fp4", "int4"]
MOST_FILE_BYTES = 16 << 20
_COMPUTED = ("model", "gpu", "dtype", "kv_cache_dtype", "tensor_parallel", "gpu_memory_utilization")


class Cost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine's step times and memory: computed from `model` and `gpu`, or read from `file`. Names follow vLLM's
    arguments where it has them."""

    model: Annotated[str | None, Meta(description="its name, e.g. llama-3.1-8b or Qwen/Qwen3-32B")] = None
    gpu: Annotated[str | None, Meta(description="its name, e.g. h100, h200, l40s, a100-80gb")] = None
    tensor_parallel: Annotated[int, Meta(ge=1, le=64, description="GPUs of one replica")] = 1
    dtype: Annotated[Type, Meta(description="type of the weights")] = "bf16"
    kv_cache_dtype: Annotated[Type, Meta(description="type of the KV cache")] = "bf16"
    gpu_memory_utilization: Annotated[float, Meta(ge=0.05, le=1, description="share of the memory that it takes")] = 0.9
    file: Annotated[
        str | None, Meta(description="what `penstock calibrate` wrote, seen from the scenario's folder")
    ] = None

    def modelled(self) -> Modelled:
        """The engine. Raises ValueError where the fields do not say one; a file is read by `loaded`."""
        if self.file is not None or self.model is None or self.gpu is None:
            raise ValueError("expected `model` and `gpu`; a `file` must be read first")
        return computed(
            MODELS[_one(self.model, MODELS)], GPUS[_one(self.gpu, GPUS)], self.dtype, self.kv_cache_dtype,
            self.tensor_parallel, self.gpu_memory_utilization,
        )  # fmt: skip


class Loaded(Cost, frozen=True, kw_only=True):
    """One whose file was read."""

    content: Modelled

    def modelled(self) -> Modelled:
        """What the file says."""
        return self.content


def engine_of(cost: str | Cost) -> Modelled:
    """Of a preset's name, or of what is told. Raises ValueError."""
    return NAMED[_one(cost, NAMED)] if isinstance(cost, str) else cost.modelled()


def card_of(cost: str | Cost) -> Card | None:
    """The GPUs of a replica whose `model` and `gpu` are told; None: they are not. Raises ValueError."""
    if isinstance(cost, str) or cost.model is None or cost.gpu is None:
        return None
    model, gpu = MODELS[_one(cost.model, MODELS)], GPUS[_one(cost.gpu, GPUS)]
    return Card(
        count=cost.tensor_parallel, memory_bytes=gpu.memory_bytes, share=cost.gpu_memory_utilization,
        weights_bytes=int(model.weight_bytes(cost.dtype) / cost.tensor_parallel), watts=float(gpu.watts),
    )  # fmt: skip


def _one(name: str, known: Mapping[str, object]) -> str:
    found = matches(name, known)
    if len(found) != 1:
        raise ValueError(_no_name(name, known)[0])
    return found[0]


def _no_name(name: str, known: Mapping[str, object]) -> tuple[str, str]:
    """What is wrong with a name, and a way out."""
    found, all_names = matches(name, known), [short(full) for full in known]
    if found:
        return f"{name!r} may be {' or '.join(short(full) for full in found)}", "say which"
    hint = did_you_mean(name, all_names)
    return f"there is no {name!r}: there are {', '.join(all_names)}", hint


def judge(cost: Mapping[str, Any], path: Place, mistakes: Mistakes, read: Callable[[str], bytes]) -> None:
    """Says what is wrong with the fields of a `cost` together; each alone has the right shape."""
    file = cost.get("file")
    if file is not None:
        if besides := [name for name in _COMPUTED if name in cost]:
            mistakes.say((*path, besides[0]), f"`file` says everything: leave out {', '.join(besides)}")
        try:
            read_modelled(read(file))
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            mistakes.say((*path, "file"), f"{file!r} cannot be used: {reason}")
        return
    well = True
    for field, known in (("model", MODELS), ("gpu", GPUS)):
        name = cost.get(field)
        if name is None:
            if not mistakes.any_below(*path):
                mistakes.say(path, f"`{field}` is missing", "it takes `model` and `gpu`, or `file`")
        elif len(matches(name, known)) != 1:
            mistakes.say((*path, field), *_no_name(name, known))
        else:
            continue
        well = False
    if well and not mistakes.any_below(*path):
        try:
            msgspec.convert(cost, Cost).modelled()
        except ValueError as error:
            mistakes.say(path, str(error))


def loaded(cost: str | Cost, read: Callable[[str], bytes]) -> str | Cost:
    """The same, with its file's content if it names one. Raises what `read` raises, and msgspec.MsgspecError."""
    if isinstance(cost, str) or cost.file is None:
        return cost
    return Loaded(file=cost.file, content=read_modelled(read(cost.file)))


def reader(folder: Path) -> Callable[[str], bytes]:
    """Reads calibration files as seen from this folder. It raises OSError, and ValueError for one that is too long."""

    def read(name: str) -> bytes:
        with (folder / name).open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
        if len(data) > MOST_FILE_BYTES:
            raise ValueError(f"longer than {MOST_FILE_BYTES >> 20} MiB")
        return data

    return read


class _Typed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cost: str | Cost


def read_cost(text: str, folder: Path) -> Modelled:
    """The engine of a preset's name, or of a block as it stands in a scenario. Raises ConfigError."""
    try:
        return engine_of(typed_cost(text, folder))
    except ValueError as error:
        raise ConfigError([f"cost: {error}"]) from None


def typed_cost(text: str, folder: Path) -> str | Cost:
    """A preset's name, or a block as it stands in a scenario: {model: llama-3.1-8b, gpu: h100}. Raises ConfigError."""
    mistakes, read = Mistakes(), reader(folder)
    try:
        tree = Shape(_Typed, mistakes).read({"cost": parse(text).tree})
    except NotYaml as error:
        raise ConfigError([f"cost: {error}"]) from None
    if isinstance(tree.get("cost"), dict):
        judge(tree["cost"], ("cost",), mistakes, read)
    mistakes.raise_if_any()
    try:
        return loaded(msgspec.convert(tree, _Typed).cost, read)
    except ValueError as error:
        raise ConfigError([f"cost: {error}"]) from None
