"""Scenario files: what comes, over which fleet, under which policy, and what goes wrong meanwhile.

The policy's blocks are the same as a pool's in the gateway's own file, so what was tried here is copied there.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from penstock.base.errors import ConfigError
from penstock.base.units import Seconds
from penstock.config.clients import Clients
from penstock.config.costs import Cost, engine_of, judge, loaded, reader
from penstock.config.document import NotYaml, parse
from penstock.config.load import load_file, read_text
from penstock.config.markets import Market
from penstock.config.mistakes import Mistakes, Place
from penstock.config.regions import ClientRegions
from penstock.config.shape import Shape
from penstock.core.limits.spec import AllowanceSpec, LimitsSpec, TiersSpec
from penstock.core.route.presets import Adaptive, Strategy
from penstock.core.scale.schedule import mistakes_in
from penstock.core.scale.spec import ScaleSpec
from penstock.core.spec import (
    BenchmarkSpec,
    BreakerSpec,
    HedgeSpec,
    OutlierSpec,
    PanicSpec,
    PoolSpec,
    ProbeSpec,
    QueueSpec,
    RetrySpec,
    ScrapeSpec,
    SlowStartSpec,
    StickySpec,
    TimeoutSpec,
)
from penstock.engine.batcher import EngineSpec
from penstock.engine.modelled import Modelled
from penstock.engine.perf import PRESETS
from penstock.workload.combine import Merge, Spec

POOL = "sim"
MODEL = "model"
Count = Annotated[int, Meta(ge=1)]


def _doc(text: str) -> Meta:
    return Meta(description=text)


class _Conf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Group(_Conf, frozen=True, kw_only=True):
    """Replicas that are alike. Names and defaults follow vLLM's arguments where it has them."""

    count: Annotated[int, Meta(ge=0, description="how many; 0 where the group scales itself from none")] = 1
    cost: Annotated[
        str | Cost,
        Meta(description=f"how long a step takes: {', '.join(PRESETS)}, or computed from a model and a GPU, or a file"),
    ] = "demo"
    speed: Annotated[float, Meta(gt=0, description="2: twice as fast as the cost model says")] = 1.0
    seats: Annotated[Count, _doc("max_concurrent_requests: calls that the gateway sends at once")] = 8
    max_num_seqs: Annotated[Count | None, _doc("sequences that run at once; none: what `cost` says, else 256")] = None
    max_num_batched_tokens: Annotated[
        Count | None, _doc("tokens that one step takes; none: what `cost` says, else 2048")
    ] = None
    kv_blocks: Annotated[Count | None, _doc("blocks of the KV cache; none: what `cost` says, else 8192")] = None
    block_size: Annotated[Count | None, _doc("tokens of a block; none: what `cost` says, else 16")] = None
    max_model_len: Annotated[Count, _doc("longest prompt and answer together, in tokens")] = 131_072
    weight: Annotated[float, Meta(gt=0, description="for strategies that weigh")] = 1.0
    hourly_cost: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        _doc("money per replica and hour; none: the list price in USD of the GPUs in `cost`, else 0"),
    ] = None
    joins_s: Annotated[
        Seconds, _doc("when they are put into the fleet, counted from the workload's start; 0: they are there already")
    ] = field(default=0.0, name="joins")
    startup_s: Annotated[
        Seconds, _doc("from then (or from the workload's start) until their engines answer, with an empty cache")
    ] = field(default=0.0, name="startup")
    round_trip_s: Annotated[
        Seconds | None, _doc("between the gateway and them, there and back (another region); none: the network's")
    ] = field(default=None, name="round_trip")

    region: Annotated[str, _doc("where they are, one of `regions.places`")] = ""

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


class Policy(_Conf, frozen=True, kw_only=True):
    """What is tried: the blocks of a pool, with the gateway's own defaults."""

    strategy: Annotated[Strategy, _doc("how a replica is chosen: a name, or {kind: name, …its settings}")] = field(
        default_factory=Adaptive
    )
    sticky: Annotated[StickySpec | None, _doc("sticky sessions, by the workload's; none: every call is balanced")] = (
        None
    )
    slow_start: SlowStartSpec = field(default_factory=SlowStartSpec)
    queue: QueueSpec = field(default_factory=QueueSpec)
    timeouts: TimeoutSpec = field(default_factory=TimeoutSpec)
    retries: RetrySpec = field(default_factory=RetrySpec)
    hedge: Annotated[HedgeSpec | None, _doc("second attempts where the first is slow to begin; none: never")] = None
    breaker: BreakerSpec = field(default_factory=BreakerSpec)
    outliers: OutlierSpec = field(default_factory=OutlierSpec)
    panic: PanicSpec = field(default_factory=PanicSpec)
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    scrape: ScrapeSpec = field(default_factory=ScrapeSpec)
    benchmark: BenchmarkSpec = field(default_factory=BenchmarkSpec)
    limits: Annotated[AllowanceSpec | None, _doc("what each of the workload's tenants may use; none: no limits")] = None

    def pool(self) -> PoolSpec:
        """As the Gate reads it."""
        blocks = {name: getattr(self, name) for name in self.__struct_fields__ if name != "limits"}
        return PoolSpec(name=POOL, models=(MODEL,), **blocks)

    def gate_limits(self) -> LimitsSpec | None:
        """What the Gate holds every tenant to."""
        return None if self.limits is None else LimitsSpec(tiers=TiersSpec(standard=self.limits), unknown_price="free")


class _Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    at_s: Annotated[Seconds, _doc("when it begins, counted from the workload's start")] = field(name="at")
    for_s: Annotated[Seconds | None, _doc("how long; none: to the end")] = field(default=None, name="for")
    replicas: Annotated[tuple[int, ...], _doc("numbers of the replicas it befalls, from 0; empty: all")] = ()


class Die(_Fault, frozen=True, kw_only=True, tag="die"):
    """The engine is gone: what it had fails, connections are refused; it comes back with an empty cache."""

    noticed: Annotated[
        bool,
        _doc(
            "where the fleet scales itself: its actuator shows that it ended; false: it goes on to show it as running"
        ),
    ] = True


class Slow(_Fault, frozen=True, kw_only=True, tag="slow"):
    """Every step takes longer."""

    factor: Annotated[float, Meta(gt=1, description="10: ten times as long")]


class Freeze(_Fault, frozen=True, kw_only=True, tag="freeze"):
    """It takes requests and answers probes, and nothing comes; what it held is lost when it ends."""


class Flap(_Fault, frozen=True, kw_only=True, tag="flap"):
    """Dead and alive by turns."""

    period_s: Annotated[Seconds, _doc("of one turn, half of it dead")] = field(default=2.0, name="period")


class MetricsOutage(_Fault, frozen=True, kw_only=True, tag="metrics_outage"):
    """Its metrics cannot be read."""


class Drain(_Fault, frozen=True, kw_only=True, tag="drain"):
    """It ends what it has and takes nothing new; when it is over it takes calls again, with the cache that it had."""


class Leave(_Fault, frozen=True, kw_only=True, tag="leave"):
    """It is taken out of the fleet: it ends what it has, and costs nothing from then on. When it is over it joins anew,
    with its group's `startup` and an empty cache."""


class Spot(_Fault, frozen=True, kw_only=True, tag="spot"):
    """Its provider takes it back: it drains from the notice on, and dies with whatever it still has when that is over.
    When all is over it joins anew, with its group's `startup` and an empty cache."""

    notice_s: Annotated[Seconds, _doc("how long between the notice, which is `at`, and its death")] = field(
        default=30.0, name="notice"
    )

    def __post_init__(self) -> None:
        if self.for_s is not None and self.for_s <= self.notice_s:
            raise ValueError(
                f"`for` ({self.for_s:g} s) is over before `notice` ({self.notice_s:g} s), and so its death"
            )


class RegionDark(_Fault, frozen=True, kw_only=True, tag="region_dark"):
    """Nothing comes out of a region or into it: connections that are under way are lost, which is noticed 10 s later;
    new ones time out. Its engines go on, with the caches that they have. Its clients go on as well."""

    region: Annotated[str, _doc("which")]

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a region goes dark with all its replicas: leave out `replicas`")


class Storm(_Fault, frozen=True, kw_only=True, tag="storm"):
    """Spot is taken back in large numbers: so large a share of the spot replicas that are there when it begins, by lot, one
    after the other; until it is over none can be had. For a fleet that scales itself with `scale.spot`."""

    share: Annotated[float, Meta(gt=0, le=1, description="share of the spot replicas")] = 0.8
    over_s: Annotated[Seconds, _doc("time in which their notices come, evenly")] = field(default=120.0, name="over")
    notice_s: Annotated[Seconds, _doc("between a notice and the end of the replica")] = field(
        default=120.0, name="notice"
    )

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a storm takes a share of all spot replicas: leave out `replicas`")


class Runaway(_Fault, frozen=True, kw_only=True, tag="runaway"):
    """A bug in what the fleet scales itself by: a billion calls seem to wait. No replica is ill."""

    def __post_init__(self) -> None:
        if self.replicas:
            raise ValueError("a runaway is the pool's: leave out `replicas`")


Fault = Die | Slow | Freeze | Flap | MetricsOutage | Drain | Leave | Spot | Storm | RegionDark | Runaway


class Network(_Conf, frozen=True, kw_only=True):
    """How long messages are under way."""

    round_trip_s: Annotated[Seconds, _doc("between the gateway and a replica, there and back")] = field(
        default=0.001, name="round_trip"
    )
    metrics_lag_s: Annotated[Seconds, _doc("how old the engines' numbers are when they are read")] = field(
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
    market: Annotated[Market, _doc("how many spot replicas can be had, for `spot`")] = field(default_factory=Market)
    reads_cpu: Annotated[
        bool,
        _doc(
            "a known mistake: `targets.gpu` is told the CPUs of the engines' hosts, which are hardly busier under load"
        ),
    ] = False


class Greedy(_Conf, frozen=True, kw_only=True):
    """One tenant asks for far more than usual: that is the last part of the workload, a merge. `penstock pressure`
    plays the scenario once more without that part, to see what it does to the others."""

    tenant: Annotated[str, _doc("who asks for more")]
    at_s: Annotated[Seconds, _doc("others' requests count that come from then on")] = field(name="at")
    for_s: Annotated[Seconds, _doc("and for so long")] = field(name="for")


class Slo(_Conf, frozen=True, kw_only=True):
    """What a good answer is; refusals and failures never are one."""

    ttft_s: Annotated[Seconds, _doc("time to the first token")] = field(default=1.0, name="ttft")
    per_token_s: Annotated[Seconds, _doc("mean time per further token")] = field(default=0.1, name="per_token")


class Expect(_Conf, frozen=True, kw_only=True):
    """What must come out."""

    metric: Annotated[str, _doc("a number of the result, e.g. ttft_p95_s, goodput, failed")]
    at_most: Annotated[float | None, _doc("highest value")] = None
    at_least: Annotated[float | None, _doc("lowest value")] = None


class Scenario(_Conf, frozen=True, kw_only=True):
    """One experiment."""

    workload: Annotated[Spec, _doc("what comes")]
    fleet: Annotated[tuple[Group, ...], Meta(min_length=1, description="groups of replicas")]
    policy: Policy = field(default_factory=Policy)
    clients: Annotated[Clients | None, _doc("how clients behave; none: they wait for ever")] = None
    network: Network = field(default_factory=Network)
    regions: Annotated[ClientRegions | None, _doc("where replicas and clients are; none: `network` says how far")] = (
        None
    )
    scale: Annotated[Scale | None, _doc("how the fleet scales itself; none: it does not")] = None
    slo: Slo = field(default_factory=Slo)
    faults: Annotated[tuple[Fault, ...], _doc("what goes wrong")] = ()
    greedy: Annotated[Greedy | None, _doc("a tenant that asks for far more than usual")] = None
    calm_s: Annotated[
        Seconds | None, _doc("from then on all should have settled; none: nothing is looked at for that")
    ] = field(default=None, name="calm")
    seeds: Annotated[tuple[int, ...], Meta(min_length=1, description="of all luck; one run each")] = (1, 2, 3)
    expect: Annotated[tuple[Expect, ...], _doc("what must come out, or the command fails")] = ()

    def __post_init__(self) -> None:
        if self.scale is not None:
            _check_scale(self.scale, self.fleet)
        _check_places(self.regions, self.fleet, self.faults)
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
    for number, schedule in enumerate(scale.schedules):
        for name, text in mistakes_in(schedule, scale.min, scale.max):
            raise ValueError(f"`scale.schedules[{number}].{name}`: {text}")


def read_scenario(text: str, name: str, folder: Path = Path()) -> Scenario:
    """What a scenario file says; calibration files are seen from `folder`. Raises ConfigError with all mistakes, each
    with its path and line."""
    mistakes = Mistakes()
    try:
        parsed = parse(text)
    except NotYaml as error:
        raise ConfigError([f"{name}: {error}"]) from None
    mistakes.places = {path: Place(line, f"{name}, line {line}") for path, line in parsed.lines.items() if path}
    for path, problem in parsed.problems:
        mistakes.say(path, problem)
    if not isinstance(parsed.tree, dict):
        raise ConfigError([f"{name}: expected a mapping with the fields `workload` and `fleet`"])
    tree: dict[str, Any] = Shape(Scenario, mistakes).read(parsed.tree)
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
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read ({error})"]) from None
    return read_scenario(text, Path(path).name, Path(path).parent)


def policy_of(path: str, environment: dict[str, str]) -> Policy:
    """The policy of the first pool of a gateway's own configuration file. Raises ConfigError."""
    settings = load_file(path, environment)
    if not settings.gate.pools:
        raise ConfigError([f"{path}: it has no pool whose policy could be tried"])
    policy = policy_from(settings.gate.pools[0])
    tiers = settings.gate.limits.tiers if settings.gate.limits is not None else None
    return policy if tiers is None else msgspec.structs.replace(policy, limits=tiers.standard)


def policy_from(pool: PoolSpec) -> Policy:
    """The policy of a pool."""
    return Policy(**{name: getattr(pool, name) for name in Policy.__struct_fields__ if name != "limits"})
