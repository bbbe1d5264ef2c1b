"""`python -m bench.engine_reality [--fit] [--data FOLDER]`: the engine model beside published measurements.

Each measurement is one TTFT and one TPOT of a deployment at a fixed concurrency. The same benchmark is played on a
Batcher. What upstream does not tell is assumed for all rows alike: ten requests a client, lengths drawn between 0.8
and 1 times the nominal ones, 8,192 tokens a step (vLLM's default on H100), 90 % of the memory. Whole groups (model,
TP, input, output length) are held back from fitting. With --data, everything else of the full data set is shown too,
as it is: predicted with the constants of H100, not fitted, beside the noise of the data.
"""

import argparse
import csv
import gzip
import re
from collections.abc import Iterable, Iterator
from math import exp, log
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import msgspec

from penstock.engine.batcher import EngineSpec
from penstock.engine.capacity import kv_blocks
from penstock.engine.computed import matches
from penstock.engine.fit import Errors, errors, hold_back, minimise, prices
from penstock.engine.hardware import GPUS
from penstock.engine.models import MODELS
from penstock.engine.roofline import CALIBRATED, Constants, roofline
from penstock.engine.trial import Seen, Trial, trial

SAMPLE = Path(__file__).parents[1] / "tests" / "samples" / "h100_vllm_dense.csv"
SYSTEMS = {"h100_sxm": "H100-SXM", "b200_sxm": "B200-SXM", "gb200": "B200-SXM"}
NAMES = {
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "Qwen/Qwen3-235B-A22B-FP8": "Qwen/Qwen3-235B-A22B",
}
"""What upstream calls a model -> its row in the table."""
FITTED = ("arithmetic", "bandwidth", "attention", "kv_bandwidth", "links", "step_s", "reduce_s", "sequence_s")
ROUNDS, SPREAD, STEP_TOKENS, SEATS = 10, 0.2, 8192, 1024


class Row(NamedTuple):
    """One measurement."""

    system: str
    backend: str
    model: str
    precision: str
    gpus: int
    prompt: int
    answer: int
    concurrency: int
    ttft_s: float
    tpot_s: float

    @property
    def group(self) -> tuple[str, str, int, int, int]:
        """What is held back as a whole."""
        return self.model, self.precision, self.gpus, self.prompt, self.answer


def read(lines: Iterable[str], system: str = "", backend: str = "") -> Iterator[Row]:
    """The rows of one pool whose setting is told and whose model is in the table; the first of equal ones."""
    seen: dict[object, None] = {}
    for row in csv.DictReader(lines):
        name = NAMES.get(row["model_path"], row["model_path"])
        parts = [row.get(part) for part in ("pp_size", "attention_dp_size", "moe_ep_size")]
        if (
            name not in MODELS
            or not row["concurrency"]
            or row.get("mode", "agg") != "agg"
            or any(part not in (None, "", "1") for part in parts)
        ):
            continue
        found = Row(
            row.get("system") or system, row.get("backend") or backend, name, row["precision"] or "bf16",
            int(row["tp_size"]), int(row["isl"]), int(row["osl"]), int(row["concurrency"]),
            float(row["ttft_ms"]) / 1000, float(row["tpot_ms"]) / 1000,
        )  # fmt: skip
        if found[:8] not in seen:
            seen[found[:8]] = None
            yield found


def sample() -> list[Row]:
    """Dense models on H100 with vLLM, as they are shipped."""
    return list(read(SAMPLE.read_text().splitlines(), "h100_sxm", "vllm"))


def played(row: Row, constants: Constants, outside_s: float, rounds: int = ROUNDS) -> list[Seen]:
    """The same benchmark on a Batcher. Raises ValueError where the model does not fit or a request can never run."""
    model, gpu = MODELS[row.model], GPUS[SYSTEMS[row.system]]
    blocks = kv_blocks(model, gpu, row.precision, tensor_parallel=row.gpus)
    if not blocks:
        raise ValueError(f"{row.model} does not fit on {row.gpus} x {gpu.name}")
    spec = EngineSpec(
        cost=roofline(model, gpu, constants, row.precision, tensor_parallel=row.gpus),
        max_num_seqs=SEATS, max_num_batched_tokens=STEP_TOKENS, kv_blocks=blocks, max_model_len=1_000_000,
    )  # fmt: skip
    return trial(spec, Trial(row.concurrency, row.prompt, row.answer, rounds, SPREAD, 0.0, outside_s))


def told(row: Row, constants: Constants, outside_s: float, rounds: int = ROUNDS) -> tuple[float, float]:
    """Mean TTFT and mean TPOT that the model predicts, in seconds."""
    seen = played(row, constants, outside_s, rounds)
    return mean(one.ttft_s for one in seen), mean(one.tpot_s for one in seen)


def compared(rows: list[Row], constants: dict[str, tuple[Constants, float]] = CALIBRATED) -> tuple[Errors, Errors]:
    """Errors of TTFT and TPOT with the constants for each row's type of weights."""
    pairs = [(row, told(row, *constants["h100-bf16" if row.precision == "bf16" else "h100-fp8"])) for row in rows]
    return errors((p[0], row.ttft_s) for row, p in pairs), errors((p[1], row.tpot_s) for row, p in pairs)


def split(rows: list[Row], offset: int = 0) -> tuple[list[Row], list[Row]]:
    """(rows to fit, rows held back: the third of the groups that `offset` says)."""
    return hold_back(rows, lambda row: row.group, 3, offset)


def fit(rows: list[Row], start: Constants, outside_s: float) -> tuple[Constants, float]:
    """Constants from these rows. A row counts with at most 30 % of error in TPOT and 70 % in TTFT, which weighs a
    third: where memory runs out, a small mistake in the number of blocks makes TTFT any number."""
    few = [row for row in rows if row.concurrency in (4, 8, 32)]  # enough, and quick

    def unpacked(values: list[float]) -> tuple[Constants, float]:
        bounded = {n: min(v, 2.0) if n[-2:] != "_s" else v for n, v in zip(FITTED, values)}
        return msgspec.structs.replace(start, **bounded), values[-1]

    def loss(values: list[float]) -> float:
        total = 0.0
        for row in few:
            ttft_s, tpot_s = told(row, *unpacked(values))
            total += min(abs(log(tpot_s / row.tpot_s)), 0.3) + 0.3 * min(abs(log(ttft_s / row.ttft_s)), 0.7)
        return total

    return unpacked(minimise(loss, [*(getattr(start, name) for name in FITTED), outside_s], 60))


def noise(rows: Iterable[tuple[object, float, float]]) -> tuple[int, float, float]:
    """(settings measured more than once, their median disagreement in TTFT and in TPOT): no model can be closer."""
    groups: dict[object, list[tuple[float, float]]] = {}
    for key, ttft, tpot in rows:
        groups.setdefault(key, []).append((ttft, tpot))
    apart = [
        tuple(exp(max(map(log, values)) - min(map(log, values))) - 1 for values in zip(*group))
        for group in groups.values()
        if len(dict.fromkeys(group)) > 1  # copies of one measurement say nothing
    ]
    if not apart:
        return 0, 0.0, 0.0
    return len(apart), median(ttft for ttft, _ in apart), median(tpot for _, tpot in apart)


def line(name: str, found: tuple[Errors, Errors]) -> str:
    """One row of the table in the docs."""
    ttft, tpot = found
    return (
        f"| {name} | {tpot.points} | {tpot.median:.1%} | {tpot.p95:.1%} | {tpot.bias:+.1%} "
        f"| {ttft.median:.1%} | {ttft.p95:.1%} | {ttft.bias:+.1%} |"
    )


def everything_else(folder: Path) -> Iterator[str]:
    """All families of the full data set, not fitted, and the noise."""
    path = folder / "perf" / "measured_ttft_tpot" / "measured_ttft_tpot.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    families: dict[str, list[Row]] = {}
    for row in read(lines):
        families.setdefault(f"{row.system}, {row.backend}, {row.model}, {row.precision}", []).append(row)
    for name, rows in sorted(families.items()):
        fits = [
            row
            for row in rows
            if kv_blocks(MODELS[row.model], GPUS[SYSTEMS[row.system]], row.precision, tensor_parallel=row.gpus)
        ]
        able = [row for row in fits if row.concurrency <= 512]
        if able:
            yield line(name, compared(able))
    keep = ("backend", "model_path", "system", "precision", "mode", "isl", "osl", "concurrency")
    again = (
        (tuple(value for key, value in row.items() if key in keep or key.endswith(("_size", "_workers"))),
         float(row["ttft_ms"]), float(row["tpot_ms"]))
        for row in csv.DictReader(lines)
    )  # fmt: skip
    settings, ttft, tpot = noise(again)
    yield f"{settings} settings were measured more than once, {ttft:.1%} (TTFT) and {tpot:.1%} (TPOT) apart."


def h200(folder: Path) -> Iterator[str]:
    """Llama-3.1-8B in FP8 on one H200 (a profile that NVIDIA's Dynamo ships): never seen, then fitted and held back."""
    path = folder / "perf" / "dynamo_h200_llama31_8b_fp8"
    constants, outside_s = CALIBRATED["h100-fp8"]
    cost = roofline(MODELS["meta-llama/Meta-Llama-3.1-8B"], GPUS["H200-SXM"], constants, "fp8")
    prompts = []
    for row in csv.DictReader((path / "prefill.csv").read_text().splitlines()):
        tokens, ttft_s = int(row["isl_tokens"]), outside_s
        for done in range(0, tokens, STEP_TOKENS):
            chunk = min(STEP_TOKENS, tokens - done)
            ttft_s += cost.step_s(chunk, 0, done, chunk * (2 * done + chunk + 1) // 2)
        prompts.append((ttft_s, float(row["ttft_ms"]) / 1000))
    decodes = []
    for row in csv.DictReader((path / "decode.csv").read_text().splitlines()):
        held = float(row["kv_usage_fraction"]) * float(row["max_kv_tokens"])
        context = float(row["context_length_tokens"])
        decodes.append((context, round(held / context), round(held), float(row["itl_ms"]) / 1000))
    fitted, back = hold_back(decodes, lambda point: point[0])
    found = prices([(1.0, point[1], point[2]) for point in fitted], [point[3] for point in fitted])
    tables = {
        "prefill, constants of H100": errors(prompts),
        "decode, constants of H100": errors((cost.step_s(0, n, held), s) for _, n, held, s in decodes),
        "decode, three prices, fitted": errors((_sum(found, n, held), s) for _, n, held, s in fitted),
        "decode, three prices, contexts held back": errors((_sum(found, n, held), s) for _, n, held, s in back),
    }
    for name, error in tables.items():
        yield f"| {name} | {error.points} | {error.median:.1%} | {error.p95:.1%} | {error.bias:+.1%} |"


def elsewhere(folder: Path) -> Iterator[str]:
    """Decode steps of models that were not fitted, as ML.ENERGY measured them with vLLM: median time between tokens at
    a mean batch. Prompts are not told; a context of 300 tokens and half of the answer is assumed for all."""
    path = folder / "perf" / "ml_energy" / "ml_energy_llm.csv"
    families: dict[str, list[tuple[float, float, float]]] = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        found = matches(
            re.sub(r"-(Instruct|Thinking|2507|FP8)", "", row["model_id"]).replace("3.3-70B", "3.1-70B"), MODELS
        )
        kind = {"bfloat16": "bf16", "fp8": "fp8"}.get(row["weight_precision"], "fp4")
        if len(found) != 1 or (row["data_parallel"], row["expert_parallel"], row["task"]) != (
            "1",
            "1",
            "lm-arena-chat",
        ):
            continue
        constants, _ = CALIBRATED["h100-bf16" if kind == "bf16" else "h100-fp8"]
        gpus, gpu = int(row["tensor_parallel"]), GPUS[f"{row['gpu_model']}-SXM"]
        cost = roofline(MODELS[found[0]], gpu, constants, kind, tensor_parallel=gpus)
        batch = float(row["avg_batch_size"])
        step_s = cost.step_s(0, round(batch), round(batch * (300 + float(row["avg_output_len"]) / 2)))
        families.setdefault(f"{row['gpu_model']}, {found[0]}, {kind}", []).append(
            (batch, step_s, float(row["median_itl_ms"]) / 1000)
        )
    for name, points in sorted(families.items()):
        cells = [f"| {name} | {len(points)}"]
        for some in ([p for p in points if p[0] < 64], [p for p in points if p[0] >= 64]):
            error = errors((told_s, seen_s) for _, told_s, seen_s in some) if some else None
            cells.append(f"{error.median:.1%} | {error.bias:+.1%}" if error else "- | -")
        yield " | ".join(cells) + " |"


def _sum(found: list[float], sequences: int, context: int) -> float:
    return found[0] + found[1] * sequences + found[2] * context


def main() -> None:
    """Fit if asked to; then the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine_reality", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit again, from the default constants (minutes)")
    parser.add_argument(
        "--offset", type=int, default=0, choices=(0, 1, 2), help="which third of the groups to hold back"
    )
    parser.add_argument("--data", type=Path, help="the folder of the full data sets")
    asked = parser.parse_args()
    rows = sample()
    fitted, held = split(rows, asked.offset)
    if asked.fit:
        fresh = {}
        for key, precision in (("h100-bf16", "bf16"), ("h100-fp8", "fp8")):
            fresh[key] = fit([row for row in fitted if row.precision == precision], Constants(), 0.02)
            print(key, fresh[key], flush=True)
        print(line("held back", compared(held, fresh)))
        return
    print("| | points | TPOT median | p95 | bias | TTFT median | p95 | bias |\n|---|---|---|---|---|---|---|---|")
    for name, some in (("fitted", fitted), ("held back", held)):
        print(line(name, compared(some)))
        for model in ("Qwen/Qwen3-32B", "meta-llama/Meta-Llama-3.1-70B"):
            print(line(f"{name}, {model}", compared([row for row in some if row.model == model])))
    if asked.data:
        for text in (*h200(asked.data), *elsewhere(asked.data), *everything_else(asked.data)):
            print(text, flush=True)


if __name__ == "__main__":
    main()
