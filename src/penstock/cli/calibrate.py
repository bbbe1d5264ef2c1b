"""`penstock calibrate`: a benchmark of a real engine into a model of it, for scenarios and emulators."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.base.errors import ConfigError
from penstock.config.load import read_text
from penstock.engine.batcher import EngineSpec
from penstock.engine.measured import calibrated, read_points
from penstock.engine.modelled import written

_SPEC = EngineSpec()

File = Annotated[
    Path,
    typer.Argument(
        help="CSV: concurrency, prompt_tokens, output_tokens, ttft_s, tpot_s and, if told, requests and spread.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Write the model to this file, JSON.")]
Name = Annotated[str | None, typer.Option(help="What it is a model of; default: the file's name.")]
Seats = Annotated[int, typer.Option(min=1, help="The engine's own argument: sequences that run at once.")]
StepTokens = Annotated[int, typer.Option(min=1, help="The engine's own argument: tokens that one step takes.")]
Blocks = Annotated[int, typer.Option(min=1, help="Blocks of its KV cache, as it logs them at its start.")]
BlockSize = Annotated[int, typer.Option(min=1, help="Tokens of a KV block.")]
Third = Annotated[int, typer.Option(min=0, max=2, help="Which third of the settings to hold back.")]


def calibrate(
    file: File, out: Out, name: Name = None, max_num_seqs: Seats = _SPEC.max_num_seqs,
    max_num_batched_tokens: StepTokens = _SPEC.max_num_batched_tokens, kv_blocks: Blocks = _SPEC.kv_blocks,
    block_size: BlockSize = _SPEC.block_size, hold_back: Third = 0,
) -> None:  # fmt: skip
    """Make a model of an engine from measurements of it, and tell how wrong that is about those held back.

    Each line is one closed-loop benchmark: so many clients, lengths of prompt and answer, mean TTFT and mean time per
    further token (as `vllm bench serve --max-concurrency` and `penstock load --closed` tell them). A third of the
    settings, whole pairs of prompt and answer lengths, is not used for fitting. What comes out is what a scenario
    takes as `cost: {file: …}`.
    """
    limits = EngineSpec(
        max_num_seqs=max_num_seqs, max_num_batched_tokens=max_num_batched_tokens, kv_blocks=kv_blocks,
        block_size=block_size, max_model_len=1 << 30,
    )  # fmt: skip
    try:
        points = read_points(read_text(str(file)).splitlines())
        found = calibrated(points, limits, name or file.stem, hold_back)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{file}: {error}"]) from None
    out.write_bytes(written(found))
    typer.echo(f"{out}: {found.about}, {found.outside_s * 1000:.3g} ms outside of the engine. {found.doubts()}")
