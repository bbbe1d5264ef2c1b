"""`penstock emulate`: emulated vLLM replicas on the ports that are asked for, until they are told to stop."""

from inspect import cleandoc
from pathlib import Path
from textwrap import fill
from typing import Annotated, Literal

import typer
import uvloop

from penstock.config.costs import read_cost
from penstock.emulator.faults import KINDS, Fault, parse_fault
from penstock.emulator.serve import serve_emulators
from penstock.emulator.spec import EmulatorSpec
from penstock.engine.modelled import NAMED

_SPEC = EmulatorSpec()

Port = Annotated[list[int] | None, typer.Option(min=0, max=65535, help="One replica a port; 0: the system chooses.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Model = Annotated[str, typer.Option(help="The name that is served.")]
Preset = Annotated[Literal["demo", "fast", "h200-8b-fp8"], typer.Option(help="How long an engine step takes.")]
Cost = Annotated[
    str | None,
    typer.Option(
        metavar="BLOCK",
        help="Instead of a preset, as in a scenario: "
        "'{model: llama-3.1-8b, gpu: h100, dtype: fp8}' or '{file: mine.json}'.",
    ),
]
Speed = Annotated[
    list[float] | None, typer.Option(help="2: twice as fast as the preset. One for all, or one a --port, in order.")
]
_OR = "Default: what --cost says, else"
Seats = Annotated[
    int | None, typer.Option(min=1, help=f"Sequences that run at once; more wait. {_OR} {_SPEC.max_num_seqs}.")
]
StepTokens = Annotated[
    int | None,
    typer.Option(min=1, help=f"Tokens that one step takes, prompts and answers. {_OR} {_SPEC.max_num_batched_tokens}."),
]
Blocks = Annotated[
    int | None,
    typer.Option(min=1, help=f"KV cache, in blocks. A small one shows preemption. {_OR} {_SPEC.kv_blocks}."),
]
BlockSize = Annotated[
    int | None,
    typer.Option(min=1, help=f"Tokens of a KV block, and of a step in the prefix cache. {_OR} {_SPEC.block_size}."),
]
Length = Annotated[int, typer.Option(min=2, help="Longest prompt and answer together, in tokens.")]
Seed = Annotated[int, typer.Option(help="Luck of the faults. Answers depend on the request alone.")]
EndWith = Annotated[int | None, typer.Option(min=1, metavar="PID", help="End when this process is gone.")]
Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="[PORT:]KIND[,FIELD=VALUE…]", help="What goes wrong; see below. Repeat for more."),
]


def emulate(
    port: Port = None, host: Host = "127.0.0.1", model: Model = _SPEC.model, preset: Preset = "demo",
    cost: Cost = None, speed: Speed = None, max_num_seqs: Seats = None, max_num_batched_tokens: StepTokens = None,
    kv_blocks: Blocks = None, block_size: BlockSize = None, max_model_len: Length = _SPEC.max_model_len, seed: Seed = 0,
    fault: Faults = None, end_with: EndWith = None,
) -> None:  # fmt: skip
    """Serve emulated vLLM replicas: OpenAI API, timing, metrics and faults of an engine, without a GPU.

    The text is nonsense, but always the same for the same request, with every token numbered. Time is not: batching, KV
    cache, prefix cache and preemption behave as a vLLM's do. /metrics has vLLM's names. SIGTERM or Ctrl-C stops it.
    """
    ports = port or [18001]
    speeds = _per_port("--speed", speed or [1.0], len(ports))
    faults = [_fault(text, ports) for text in fault or []]
    engine = NAMED[preset] if cost is None else read_cost(cost, Path())
    specs = [
        EmulatorSpec(
            model=model, cost=engine.cost, speed=speeds[index],
            max_num_seqs=max_num_seqs or engine.max_num_seqs or _SPEC.max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens or engine.max_num_batched_tokens
            or _SPEC.max_num_batched_tokens,
            kv_blocks=kv_blocks or engine.kv_blocks or _SPEC.kv_blocks,
            block_size=block_size or engine.block_size or _SPEC.block_size,
            max_model_len=max_model_len, seed=seed + index,
            faults=tuple(what for where, what in faults if where in (None, number)),
        )
        for index, number in enumerate(ports)
    ]  # fmt: skip

    def show(urls: list[str]) -> None:
        for spec, url in zip(specs, urls):
            bad = f", {len(spec.faults)} faults set" if spec.faults else ""
            typer.echo(f"emulated vLLM on {url}/v1 (model: {model}, speed {spec.speed:g}{bad})")
        if cost is not None:
            typer.echo(f"{engine.about}, as a model of its steps. {engine.doubts()}")
        typer.echo(f'change faults while it runs: curl {urls[0]}/emulator/faults -d \'[{{"kind": "status"}}]\'')

    uvloop.run(serve_emulators(list(zip(specs, ports)), host, show, end_with))


_FIELDS = ", ".join(name for name in Fault.__struct_fields__ if name != "kind")
emulate.__doc__ = "\n\n".join(
    [
        cleandoc(emulate.__doc__ or ""),
        "\b\nExamples\n"
        "  penstock emulate --port 18001 --port 18002 --speed 1 --speed 0.5\n"
        "  penstock emulate --cost '{model: llama-3.1-8b, gpu: h100, dtype: fp8}'\n"
        "  penstock emulate --fault status,status=503,probability=0.1\n"
        "  penstock emulate --port 18001 --port 18002 \\\n"
        "      --fault 18002:reset_mid_stream,after=5\n"
        "  curl 127.0.0.1:18001/emulator/faults -d '[]'",
        "\b\nFaults\n"
        + "\n".join(fill(f"  {kind:18} {text}", 78, subsequent_indent=" " * 21) for kind, text in KINDS.items()),
        f"Their fields: {_FIELDS}.",
    ]
)


def _per_port(option: str, values: list[float], ports: int) -> list[float]:
    if len(values) not in (1, ports):
        raise typer.BadParameter(f"give {option} once for all, or once for each of the {ports} ports")
    if min(values) <= 0:
        raise typer.BadParameter(f"{option} must be more than 0")
    return values * ports if len(values) == 1 else values


def _fault(text: str, ports: list[int]) -> tuple[int | None, Fault]:
    """A fault and the port it is for; None: for all."""
    where, colon, rest = text.partition(":")
    number = int(where) if colon and where.isdigit() else None
    if number is not None and number not in ports:
        raise typer.BadParameter(f"--fault {text}: {number} is none of the ports {', '.join(map(str, ports))}")
    try:
        return number, parse_fault(text if number is None else rest)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
