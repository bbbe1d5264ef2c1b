"""Where traces come from: a file, or one of the samples that ship with Penstock."""

from importlib.resources import files
from pathlib import Path

from penstock.workload.formats import MAX_BYTES, TraceError, TraceRequest, read_trace

SHIPPED = {"azure": "azure_conv_2023.csv.gz", "mooncake": "mooncake_conversation.jsonl.gz"}
"""Name -> file under workload/data; ATTRIBUTION.md there tells whose they are."""


def open_trace(name: str) -> list[TraceRequest]:
    """The requests of a shipped trace (by its name in SHIPPED) or of a file. Raises TraceError."""
    if name in SHIPPED:
        return read_trace(files("penstock.workload").joinpath("data", SHIPPED[name]).read_bytes(), SHIPPED[name])
    path = Path(name)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TraceError(name, 0, "", f"expected at most {MAX_BYTES:,} bytes of trace")
        return read_trace(path.read_bytes(), name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TraceError(name, 0, "", f"{reason}; shipped traces: {', '.join(SHIPPED)}") from None
