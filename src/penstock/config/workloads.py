"""Workloads by name: a shipped trace, a trace file, or a YAML file that describes one; and the files that they need.

The room of workloads opens nothing; here is who opens. Relative paths inside a YAML file are seen from its folder.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from penstock.base.errors import ConfigError
from penstock.config.files import mapping_of, text_of
from penstock.workload.combine import Spec, Trace, Workload
from penstock.workload.lines import PIECE_BYTES, TraceError

SHIPPED = {"azure": "azure_conv_2023.csv.gz", "mooncake": "mooncake_conversation.jsonl.gz"}
"""Name -> file under workload/data; ATTRIBUTION.md there tells whose they are."""
YAML_NAMES = (".yaml", ".yml")


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload file."""

    workload: Spec
    """What comes."""
    seed: int | None = None
    """Of all luck in it; none: whoever runs it draws one and shows it."""


def open_workload(name: str, seed: int) -> Workload:
    """The workload of a shipped trace, a trace file, or (NAME.yaml) a workload file, whose own seed counts before
    `seed`. Raises ConfigError for mistakes in a YAML file; traces are read, and judged, when it is iterated."""
    if not name.lower().endswith(YAML_NAMES):
        return Workload(Trace(file=name), seed, reader(Path()))
    file = read_workload(text_of(name), name)
    return Workload(file.workload, seed if file.seed is None else file.seed, reader(Path(name).parent))


def read_workload(text: str, name: str) -> File:
    """What a workload file says. Raises ConfigError with all mistakes, each with its path and line."""
    tree, mistakes = mapping_of(text, name, File, "the field `workload`")
    mistakes.raise_if_any()
    return _converted(tree, name)


def _converted(tree: dict[str, Any], name: str) -> File:
    try:
        return msgspec.convert(tree, File)
    except msgspec.ValidationError as error:  # what only a spec itself can judge: how its fields fit together
        text = str(error).replace(" - at `$.", " (at `").replace("`", "")
        raise ConfigError([f"{name}: {text}{')' if '(at ' in text else ''}"]) from None


def reader(folder: Path) -> Callable[[str], Iterable[bytes]]:
    """Hands over files by name, piece by piece: shipped ones, and those seen from `folder`."""

    def read(name: str) -> Iterator[bytes]:
        if name in SHIPPED:
            yield files("penstock.workload").joinpath("data", SHIPPED[name]).read_bytes()
            return
        try:
            with (folder / name).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            reason = error.strerror or str(error)
            raise TraceError(name, 0, "", f"{reason}; shipped traces: {', '.join(SHIPPED)}") from None

    return read
