"""A model for a real llama-server: a Llama with random weights in llama.cpp's own file format, GGUF 3.

    python -m tests.helpers.tiny_gguf tiny.gguf
    llama-server -m tiny.gguf --alias tiny --metrics --parallel 2 --ctx-size 32768 --port 8081

What it says is noise, of letters alone and without an end; how the server speaks does not depend on that. A token is
one byte, so that prompts have as many tokens as bytes. The format: ggml-org/ggml, docs/gguf.md.
"""

import random
import string
import struct
import sys
from array import array
from pathlib import Path
from typing import BinaryIO

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 256, 4, 4, 512, 32768
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
TOKENS = (
    ("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL), *((f"<0x{byte:02X}>", _BYTE) for byte in range(256)),
    *((letter, _NORMAL) for letter in string.ascii_letters),
)  # fmt: skip
"""Every token and its kind. The last are what it says."""
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_ALIGNMENT = 32


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(told: str | int | float | bool) -> tuple[int, bytes]:
    """A value's type and bytes."""
    if isinstance(told, str):
        return _STRING, _string(told)
    if isinstance(told, bool):
        return _BOOL, struct.pack("<?", told)
    if isinstance(told, int):
        return _UINT32, struct.pack("<I", told)
    return _FLOAT32, struct.pack("<f", told)


def _list(kind: int, values: list[bytes]) -> tuple[int, bytes]:
    return _ARRAY, struct.pack("<IQ", kind, len(values)) + b"".join(values)


def _facts() -> dict[str, tuple[int, bytes]]:
    """What the file says of the model and its tokens."""
    plain: dict[str, str | int | float | bool] = {
        "general.architecture": "llama", "general.name": "tiny", "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH, "llama.block_count": LAYERS, "llama.feed_forward_length": INNER,
        "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": HEADS,
        "llama.rope.dimension_count": WIDTH // HEADS, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip
    return {
        **{name: _value(told) for name, told in plain.items()},
        "tokenizer.ggml.tokens": _list(_STRING, [_string(name) for name, _ in TOKENS]),
        "tokenizer.ggml.scores": _list(_FLOAT32, [struct.pack("<f", 0.0)] * len(TOKENS)),
        "tokenizer.ggml.token_type": _list(_INT32, [struct.pack("<i", kind) for _, kind in TOKENS]),
    }


def _shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor, its fastest dimension first."""
    words = (WIDTH, len(TOKENS))
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": words, "output.weight": words}
    shapes["output_norm.weight"] = (WIDTH,)
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}.weight": (WIDTH, INNER) for name in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down.weight"] = (INNER, WIDTH)
    return shapes


def _weights(name: str, size: int, rand: random.Random) -> "array[float]":
    if name.endswith("norm.weight"):
        return array("f", [1.0] * size)
    mute = size - WIDTH * len(string.ascii_letters) if name == "output.weight" else 0
    most = 0.5 if mute else 0.1
    return array("f", [0.0] * mute + [rand.uniform(-most, most) for _ in range(size - mute)])


def _pad(out: BinaryIO) -> None:
    out.write(b"\0" * (-out.tell() % _ALIGNMENT))


def write(path: Path, seed: int = 0) -> None:
    """Write the model: 11 MB, the same for the same seed."""
    rand, shapes, facts = random.Random(seed), _shapes(), _facts()
    with path.open("wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(facts)))
        for name, (kind, data) in facts.items():
            out.write(_string(name) + struct.pack("<I", kind) + data)
        offset, sizes = 0, {}
        for name, shape in shapes.items():
            sizes[name] = shape[0] * (shape[1] if len(shape) > 1 else 1)
            dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
            out.write(_string(name) + dimensions + struct.pack("<IQ", 0, offset))  # 0: 32-bit floats
            offset += -(-sizes[name] * 4 // _ALIGNMENT) * _ALIGNMENT
        for name, size in sizes.items():
            _pad(out)
            _weights(name, size, rand).tofile(out)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
