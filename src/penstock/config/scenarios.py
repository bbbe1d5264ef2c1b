"""Scenario files: what comes, over which fleet, under which policy, and what goes wrong meanwhile.

The policy's blocks are the same as a pool's in the gateway's own file, so what was tried here is copied there.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field
from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.base.units import Seconds
from penstock.config.clients import Clients, Greedy
from penstock.config.costs import Cost, engine_of, judge, loaded, reader
from penstock.config.faults import (
    Die,
    Drain,
    Fault,
    Flap,
    Freeze,
    GpuOutage,
    Leave,
    MetricsOutage,
    RegionDark,
    Runaway,
    Slow,
    Spot,
    Storm,
)
from penstock.config.files import mapping_of, text_of
from penstock.config.gpus import Gpus
from penstock.config.load import load_file
from penstock.config.markets import Market
from penstock.config.policies import MODEL, POOL, Loras, Policy, ScenarioPool, mistakes_in, policy_from
from penstock.config.regions import ClientRegions
from penstock.config.strict import Strict, doc
from penstock.core.scale import schedule
from penstock.core.scale.spec import ScaleSpec
from penstock.engine.batcher import EngineSpec
from penstock.engine.modelled import Modelled
from penstock.engine.perf import PRESETS
from penstock.workload.combine import Merge, Spec

__all__ = (
    "MODEL", "POOL", "Die", "Drain", "Expect", "Fault", "Flap", "Freeze", "Gateways", "GpuOutage", "Gpus", "Group",
    "Http",    "Leave", "Loras", "MetricsOutage", "Network", "Policy", "RegionDark", "Runaway", "Scale", "Scenario",
    "ScenarioPool", "Slo", "Slow", "Spot", "Storm", "open_scenario", "policy_from", "policy_of", "read_scenario",
)  # fmt: skip
"""All of a scenario is read from here; what is tried and what goes wrong stand in files of their own."""

Count = Annotated[int, Meta(ge=1)]
MOST_GATEWAYS = 64


class Http(Strict, frozen=True, kw_only=True):
    """The engine's HTTP server, which takes one request after the other: requests that go together cost it less."""

    request_s: Annotated[Seconds, doc("its work with a request, however many inputs that has")] = field(
        default=0.0, name="request"
    )
    input_s: Annotated[Seconds, doc("and with each of its inputs")] = field(default=0.0, name="input")


class Group(Strict, frozen=True, kw_only=True):
    """Replicas that are alike. Names and defaults follow vLLM's arguments where it has them."""

    count: Annotated[int, Meta(ge=0, description="how many; 0 where the group scales itself from none")] = 1
    cost: Annotated[
        str | Cost,
        Meta(description=f"how long a step takes: {', '.join(PRESETS)}, or computed from a model and a GPU, or a file"),
    ] = "demo"
    speed: Annotated[float, Meta(gt=0, description="2: twice as fast as the cost model says")] = 1.0
    seats: Annotated[Count, doc("max_concurrent_requests: calls that the gateway sends at once")] = 8
    max_num_seqs: Annotated[Count | None, doc("sequences that run at once; none: what `cost` says, else 256")] = None
    max_num_batched_tokens: Annotated[
        Count | None, doc("tokens that one step takes; none: what `cost` says, else 2048")
    ] = None
    kv_blocks: Annotated[Count | None, doc("blocks of the KV cache; none: what `cost` says, else 8192")] = None
    block_size: Annotated[Count | None, doc("tokens of a block; none: what `cost` says, else 16")] = None
    max_model_len: Annotated[Count, doc("longest prompt and answer together, in tokens")] = 131_072
    weight: Annotated[float, Meta(gt=0, description="for strategies that weigh")] = 1.0
    hourly_cost: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        doc("money per replica and hour; none: the list price in USD of the GPUs in `cost`, else 0"),
    ] = None
    joins_s: Annotated[
        Seconds, doc("when they are put into the fleet, counted from the workload's start; 0: they are there already")
    ] = field(default=0.0, name="joins")
    startup_s: Annotated[
        Seconds, doc("from then (or from the workload's start) until their engines answer, with an empty cache")
    ] = field(default=0.0, name="startup")
    round_trip_s: Annotated[
        Seconds | None, doc("between the gateway and them, there and back (another region); none: the network's")
    ] = field(default=None, name="round_trip")

    region: Annotated[str, doc("where they are, one of `regions.places`")] = ""
    pool: Annotated[str, doc("which of `pools` they are in, where there are any")] = ""
    loras: Annotated[
        Loras | None, doc("LoRA adapters that their engines hold; none: adapters are passed over, the model answers")
    ] = None
    gpus: Annotated[Gpus | None, doc("that their GPUs are read; none: nobody reads them")] = None
    http: Annotated[Http | None, doc("what their HTTP servers have to do; none: requests cost them nothing")] = None

    def __post_init__(self) -> None:
        if isinstance(self.cost, str) and self.cost not in PRESETS:
            raise ValueError(f"{self.cost!r} is no cost model: there are {', '.join(PRESETS)}")

    def engine(self) -> EngineSpec:
        """The engine of one of them. Raises ValueError where `cost` does not say one."""
        told = self.modelled()
        return EngineSpec(
            cost=told.cost, speed=self.speed, max_num_seqs=self.max_num_seqs or told.max_num_seqs or 256,
            max_num_batched_tokens=self.max_num_batched_tokens or told.max_num_batched_tokens or 2048,
            kv_blocks=self.kv_blocks or told.kv_blocks or 8192, block_size=self.block_size or told.block_size or 16,
            max_model_len=self.max_model_len,
        )  # fmt: skip

    def modelled(self) -> Modelled:
        """What `cost` says. Raises ValueError where it does not say an engine."""
        return engine_of(self.cost)

    def money_per_hour(self) -> float:
        """Of one of them."""
        return (self.modelled().hourly_cost or 0.0) if self.hourly_cost is None else self.hourly_cost


class Network(Strict, frozen=True, kw_only=True):
    """How long messages are under way."""

    round_trip_s: Annotated[Seconds, doc("between the gateway and a replica, there and back")] = field(
        default=0.001, name="round_trip"
    )
    metrics_lag_s: Annotated[Seconds, doc("how old the engines' numbers are when they are read")] = field(
        default=0.0, name="metrics_lag"
    )


class Scale(ScaleSpec, frozen=True, kw_only=True):
    """The fleet scales itself, as a gateway's pool does, by the same code."""

    group: Annotated[
        int,
        Meta(
            ge=0,
            description="group of its replicas, from 0: `count` of them are there already, and a start takes `startup`",
        ),
    ] = 0
    market: Annotated[Market, doc("how many spot replicas can be had, for `spot`")] = field(default_factory=Market)
    reads_cpu: Annotated[
        bool,
        doc(
            "a known mistake: `targets.gpu` is told the CPUs of the engines' hosts, which are hardly busier under load"
        ),
    ] = False


class Gateways(Strict, frozen=True, kw_only=True):
    """Several gateways over the same fleet, each of which sees its own calls only. Requests come to them by lot, those
    of a session all to one."""

    count: Annotated[int, Meta(ge=1, le=MOST_GATEWAYS, description="how many")] = 2
    seats: Annotated[
        Literal["whole", "divided"],
        doc("what each may have in flight at a replica. whole: as many as it has seats; divided: a part of them"),
    ] = "whole"
    limits: Annotated[
        Literal["own", "shared"],
        doc("`limits` of the policy. own: each counts for itself; shared: they hold for all, by leases of one store"),
    ] = "own"
    store_round_trip_s: Annotated[Seconds, doc("between a gateway and that store, there and back")] = field(
        default=0.001, name="store_round_trip"
    )


class Slo(Strict, frozen=True, kw_only=True):
    """What a good answer is; refusals and failures never are one."""

    ttft_s: Annotated[Seconds, doc("time to the first token")] = field(default=1.0, name="ttft")
    per_token_s: Annotated[Seconds, doc("mean time per further token")] = field(default=0.1, name="per_token")


class Expect(Strict, frozen=True, kw_only=True):
    """What must come out."""

    metric: Annotated[str, doc("a number of the result, e.g. ttft_p95_s, goodput, failed")]
    at_most: Annotated[float | None, doc("highest value")] = None
    at_least: Annotated[float | None, doc("lowest value")] = None
    model: Annotated[str | None, doc("of the requests for this model alone, where there are `pools`; none: of all")] = (
        None
    )

    def holds(self, value: float) -> bool:
        """Whether a value is within the bounds."""
        low, high = self.at_least, self.at_most
        return (low is None or value >= low) and (high is None or value <= high)

    def said(self) -> str:
        """The bounds in words."""
        pairs = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {number:g}" for word, number in pairs if number is not None)


class Scenario(Strict, frozen=True, kw_only=True):
    """One experiment."""

    workload: Annotated[Spec, doc("what comes")]
    fleet: Annotated[tuple[Group, ...], Meta(min_length=1, description="groups of replicas")]
    policy: Policy = field(default_factory=Policy)
    variants: Annotated[
        dict[str, Policy], doc("name -> a policy that is tried beside `policy`, unless the command says what is tried")
    ] = field(default_factory=dict)
    pools: Annotated[
        dict[str, ScenarioPool],
        doc("pools of the fleet and their models; none: one pool that serves whatever is asked for"),
    ] = field(default_factory=dict)
    aliases: Annotated[dict[str, str], doc("name that requests use -> model of a pool")] = field(default_factory=dict)
    fallback: Annotated[dict[str, tuple[str, ...]], doc("model -> models to try in turn where it cannot be served")] = (
        field(default_factory=dict)
    )
    adapters: Annotated[
        tuple[str, ...], doc("LoRA adapters that a recorded trace names; those that are drawn are known")
    ] = ()
    clients: Annotated[Clients | None, doc("how clients behave; none: they wait for ever")] = None
    network: Network = field(default_factory=Network)
    gateways: Annotated[Gateways | None, doc("several gateways; none: one, which sees all calls")] = None
    regions: Annotated[ClientRegions | None, doc("where replicas and clients are; none: `network` says how far")] = None
    scale: Annotated[Scale | None, doc("how the fleet scales itself; none: it does not")] = None
    slo: Slo = field(default_factory=Slo)
    faults: Annotated[tuple[Fault, ...], doc("what goes wrong")] = ()
    greedy: Annotated[Greedy | None, doc("a tenant that asks for far more than usual")] = None
    calm_s: Annotated[
        Seconds | None, doc("from then on all should have settled; none: nothing is looked at for that")
    ] = field(default=None, name="calm")
    seeds: Annotated[tuple[int, ...], Meta(min_length=1, description="of all luck; one run each")] = (1, 2, 3)
    expect: Annotated[tuple[Expect, ...], doc("what must come out, or the command fails")] = ()

    def __post_init__(self) -> None:
        if self.scale is not None:
            _check_scale(self.scale, self.fleet)
            if self.gateways is not None:
                raise ValueError("a fleet that scales itself has one gateway here: leave out `gateways` or `scale`")
        _check_places(self.regions, self.fleet, self.faults)
        used = {group.pool: None for group in self.fleet}
        asked = [expect.model for expect in self.expect if expect.model is not None]
        for mistake in mistakes_in(self.pools, used, self.aliases, self.fallback, asked):
            raise ValueError(mistake)
        count = sum(group.count for group in self.fleet)
        if self.greedy is not None and not (isinstance(self.workload, Merge) and len(self.workload.of) > 1):
            raise ValueError("what a greedy tenant asks for is the last part of a `merge` of several")
        if not count and self.scale is None:
            raise ValueError("the fleet has no replica, and it does not scale itself")
        for fault in self.faults:
            if isinstance(fault, Storm) and (self.scale is None or self.scale.spot is None):
                raise ValueError("a storm needs a fleet that scales itself with spot: set `scale.spot`")
            for number in fault.replicas:
                if not 0 <= number < count:
                    raise ValueError(f"there is no replica {number}: the fleet's are 0 to {count - 1}")


def _check_places(regions: ClientRegions | None, fleet: tuple[Group, ...], faults: tuple[Fault, ...]) -> None:
    used = {group.region: None for group in fleet if group.region}
    for name in used if regions is None or set(used) - set(regions.places) else ():
        if regions is None or name not in regions.places:
            raise ValueError(f"there is no region {name!r}: name it under `regions.places`")
    if regions is not None and any(not group.region for group in fleet):
        raise ValueError("where there are `regions`, every group of the fleet says its `region`")
    for fault in faults:
        if isinstance(fault, RegionDark) and fault.region not in used:
            raise ValueError(f"no replica is in region {fault.region!r}, which is to go dark")


def _check_scale(scale: Scale, fleet: tuple[Group, ...]) -> None:
    if scale.group >= len(fleet):
        raise ValueError(f"there is no group {scale.group} to scale: the fleet's are 0 to {len(fleet) - 1}")
    if fleet[scale.group].joins_s:
        raise ValueError("the group that scales itself joins by that: leave out its `joins`")
    if scale.min > scale.max:
        raise ValueError(f"`scale.min` is {scale.min}, which is more than `scale.max`, {scale.max}")
    for number, one in enumerate(scale.schedules):
        for name, text in schedule.mistakes_in(one, scale.min, scale.max):
            raise ValueError(f"`scale.schedules[{number}].{name}`: {text}")


def read_scenario(text: str, name: str, folder: Path = Path()) -> Scenario:
    """What a scenario file says; calibration files are seen from `folder`. Raises ConfigError with all mistakes, each
    with its path and line."""
    tree, mistakes = mapping_of(text, name, Scenario, "the fields `workload` and `fleet`")
    if mistakes.is_written(("pools", 0)) and not mistakes.is_written(("workload",)):
        way = f"penstock simulate SCENARIO --compare {name} (examples/scenarios has some)"
        raise ConfigError([f"{name}: this is a gateway's configuration, expected a scenario; to try its policy: {way}"])
    read = reader(folder)
    for number, group in enumerate(tree.get("fleet", ())):
        if isinstance(cost := group.get("cost"), dict):
            judge(cost, ("fleet", number, "cost"), mistakes, read)
    mistakes.raise_if_any()
    try:
        scenario = msgspec.convert(tree, Scenario)
    except msgspec.ValidationError as error:  # what only a spec itself can judge: how its fields fit together
        raise ConfigError([f"{name}: {error}".replace("`$.", "`")]) from None
    fleet = tuple(replace(group, cost=loaded(group.cost, read)) for group in scenario.fleet)
    return replace(scenario, fleet=fleet)


def open_scenario(path: str) -> Scenario:
    """A scenario file on disk. Raises ConfigError, also where it cannot be read."""
    return read_scenario(text_of(path), Path(path).name, Path(path).parent)


def policy_of(path: str, environment: dict[str, str]) -> Policy:
    """The policy of the first pool of a gateway's own configuration file. Raises ConfigError."""
    settings = load_file(path, environment)
    if not settings.gate.pools:
        raise ConfigError([f"{path}: it has no pool whose policy could be tried"])
    policy = policy_from(settings.gate.pools[0])
    tiers = settings.gate.limits.tiers if settings.gate.limits is not None else None
    return policy if tiers is None else msgspec.structs.replace(policy, limits=tiers.standard)
