"""What an emulator is built from."""

from typing import Annotated

from msgspec import Meta, Struct

from penstock.emulator.faults import Fault
from penstock.engine.batcher import Count, EngineSpec
from penstock.engine.perf import PRESETS, StepCost
from penstock.engine.profile import Profile
from penstock.engine.roofline import Roofline


class EmulatorSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One emulated replica. Names and defaults follow vLLM's arguments where it has them."""

    model: Annotated[str, Meta(min_length=1, description="the name that it serves")] = "demo"
    cost: Annotated[StepCost | Roofline | Profile, Meta(description="how long a step takes")] = PRESETS["demo"]
    speed: Annotated[float, Meta(gt=0, description="2: twice as fast as the cost model says")] = 1.0
    max_num_seqs: Annotated[Count, Meta(description="seats: sequences that run at once")] = 256
    max_num_batched_tokens: Annotated[Count, Meta(description="tokens that one step takes")] = 2048
    kv_blocks: Annotated[Count, Meta(description="blocks of the KV cache")] = 8192
    block_size: Annotated[Count, Meta(description="tokens of a block")] = 16
    max_model_len: Annotated[Count, Meta(description="longest prompt and answer together, in tokens")] = 32_768
    max_waiting: Annotated[Count, Meta(description="sequences that may wait; more get 503")] = 100_000
    embedding_dimensions: Annotated[int, Meta(ge=1, le=4096, description="of /v1/embeddings")] = 64
    seed: Annotated[int, Meta(description="of the faults' luck; answers depend on the request alone")] = 0
    faults: Annotated[tuple[Fault, ...], Meta(description="what goes wrong from the start")] = ()
    max_body_bytes: Annotated[Count, Meta(description="longest request body; longer ones get 413")] = 64 << 20
    version: Annotated[str, Meta(description="the vLLM version that it claims to be")] = "0.32.0"

    def engine(self) -> EngineSpec:
        """The part of it that is the engine's."""
        return EngineSpec(
            cost=self.cost,
            speed=self.speed,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            kv_blocks=self.kv_blocks,
            block_size=self.block_size,
            max_model_len=self.max_model_len,
            max_waiting=self.max_waiting,
        )
