"""Who knows more than any gateway can, for comparison.

- `bound`: every request alone on the fastest replica, which has in its cache all that was ever said before. Nobody is
  better, and nobody could be that good with all requests together.
- `LeastWork`: the gateway's own queue and bounds, with a scorer that knows how long every answer will be and what every
  cache holds, and sends each request to where the work, its own included, is over first. It is no bound, for it looks
  only one request ahead; it tells how much there is to gain by knowing more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from penstock.base.nouns import Call
from penstock.base.rand import Rand
from penstock.config.scenarios import POOL, Policy, Scenario
from penstock.core.load import Seat
from penstock.core.route.pickers import Best
from penstock.core.route.pipeline import Pipeline
from penstock.core.route.presets import LeastLoaded
from penstock.engine.batcher import EngineSpec
from penstock.engine.outlook import left, price
from penstock.engine.run import Run as Steps
from penstock.sim.compare import Comparison, Trial, Yardstick, fleets, number, numbers_of
from penstock.sim.opponents import MARK
from penstock.sim.prompts import seen_by_engine
from penstock.sim.run import Run
from penstock.sim.served import Served
from penstock.sim.sketch import Sketch
from penstock.sim.tally import Result
from penstock.workload.oracle import InfiniteCache
from penstock.workload.request import Request

Way = tuple[EngineSpec, float]
"""An engine, and the way there and back in seconds."""
USUAL_CONTEXT_TOKENS = 1000
"""At which a token of an answer is priced."""

# ===== nobody is better =====


def alone_s(spec: EngineSpec, request: Request, cached: int) -> tuple[float, float]:
    """Seconds to the first token, and to the end, on an idle engine that finds so many tokens of the prompt: what the
    Batcher would take, in closed form."""
    cost, pace, prompt = spec.cost, 1.0 / spec.speed, request.prompt_tokens
    first_s, computed = 0.0, cached
    while computed < prompt:
        chunk = min(spec.max_num_batched_tokens, prompt - computed)
        pairs = chunk * (computed + computed + chunk + 1) // 2
        first_s += cost.step_s(chunk, 0, computed, pairs) * pace
        computed += chunk
    more = request.output_tokens - 1
    if more < 1:
        return first_s, first_s
    steps = Steps()
    steps.begin(cost.step_s(0, 1, prompt, 0) * pace, cost.growth_s(1) * pace, more, first_s)
    return first_s, steps.ends_at


def bound(scenario: Scenario, requests: Iterable[Request]) -> dict[str, float]:
    """The numbers that nobody can beat, by their names in a result: times at least, shares at most.

    Prefixes are found in the order of arrival: a run in another order may find another request's, and as many in all.
    """
    ways_of, slo = _ways(scenario), scenario.slo
    cache, ttft, e2e, per_token = InfiniteCache(), Sketch(), Sketch(), Sketch()
    count = good = prompt_tokens = cached_tokens = 0
    for request in requests:
        count += 1
        ways = ways_of(request)
        if not ways:
            continue  # nobody serves its model
        found = min(cache.ask(request)[1] * request.block_tokens, request.prompt_tokens - 1)
        times = [
            (way_s + first, way_s + end) for spec, way_s in ways for first, end in (alone_s(spec, request, found),)
        ]
        first_s, end_s = min(first for first, _ in times), min(end for _, end in times)
        more = request.output_tokens - 1
        token_s = min((end - first) / more for first, end in times) if more > 0 else 0.0
        ttft.add(first_s)
        e2e.add(end_s)
        if more > 0:
            per_token.add(token_s)
        good += first_s <= slo.ttft_s and token_s <= slo.per_token_s
        prompt_tokens += request.prompt_tokens
        cached_tokens += found
    return {
        "requests": float(count), "failed": float(count - e2e.count), "goodput": good / count if count else 0.0,
        "ttft_mean_s": ttft.mean, "ttft_p50_s": ttft.quantile(0.5), "ttft_p90_s": ttft.quantile(0.9),
        "ttft_p95_s": ttft.quantile(0.95), "ttft_p99_s": ttft.quantile(0.99), "e2e_mean_s": e2e.mean,
        "e2e_p50_s": e2e.quantile(0.5), "e2e_p95_s": e2e.quantile(0.95), "e2e_p99_s": e2e.quantile(0.99),
        "queue_p95_s": 0.0, "per_token_p50_s": per_token.quantile(0.5),
        "prefix_hits": cached_tokens / prompt_tokens if prompt_tokens else 0.0,
    }  # fmt: skip


def _ways(scenario: Scenario) -> Callable[[Request], Sequence[Way]]:
    """The engines that may answer a request, each kind once, with the way there and back."""
    usual_s = scenario.network.round_trip_s
    served = Served(scenario, scenario.policy)
    by_pools: dict[tuple[str, ...], list[Way]] = {}

    def ways(request: Request) -> Sequence[Way]:
        pools = served.within_reach(request)
        found = by_pools.get(pools)
        if found is None:
            groups = [group for group in scenario.fleet if (group.pool or POOL) in pools]
            each = [(one.engine(), usual_s if one.round_trip_s is None else one.round_trip_s) for one in groups]
            found = by_pools[pools] = list(dict.fromkeys(each))
        return found

    return ways


# ===== who looks inside =====


class LeastWork(Run):
    """A run whose scorer is told what none can know."""

    def __init__(self, scenario: Scenario, policy: Policy, requests: Iterable[Request], seed: int) -> None:
        super().__init__(scenario, policy, requests, seed)
        self._prices = {
            name: price(
                engine.batcher.spec, min(engine.group.seats, engine.batcher.spec.max_num_seqs), USUAL_CONTEXT_TOKENS
            )
            for name, engine in self.cloud.engines.items()
        }
        ties = Best(Rand(seed).stream("oracle"))
        for pool in self.served.pools:
            self.gate.pool(pool.name).pipeline = Pipeline([(1.0, self)], ties, Rand(seed))

    def score(self, call: Call, seats: Sequence[Seat], now: float) -> list[float]:
        """1 / (1 + seconds until all that a replica has, and this, is done). See `Scorer`."""
        flying = self._flying.get(call.id)  # a group has no entry: it is known by its size
        request = Request(0, max(1, call.prompt_tokens), 0) if flying is None else flying.request
        return [1.0 / (1.0 + self._work_s(seat.id, call.model, request, now)) for seat in seats]

    def _work_s(self, name: str, model: str, request: Request, now: float) -> float:
        engine, each = self.cloud.engines[name], self._prices[name]
        if engine.dead or engine.frozen:
            return 1e9
        adapter = model if engine.shelf is not None and model in engine.adapters else ""
        hashes = seen_by_engine(request, engine.batcher.spec.block_size, adapter)
        new = request.prompt_tokens - engine.batcher.memory.found(hashes, request.prompt_tokens - 1)
        there = left(engine.batcher, now)
        load_s = 0.0 if engine.shelf is None or not adapter else engine.shelf.load_s(adapter)
        return load_s + engine.slowed * each.of(new + there.read, request.output_tokens + there.made)


def least_work(scenario: Scenario, requests: Iterable[Request], seed: int) -> Result:
    """The numbers of one run with the scenario's queue, time-outs and health, by one gateway that sees all calls."""
    policy = replace(scenario.policy, strategy=LeastLoaded(), sticky=None)
    return LeastWork(replace(scenario, gateways=None), policy, requests, seed).go().result


def with_yardsticks(
    comparison: Comparison, trials: Mapping[str, Trial], requests: Callable[[int], Iterable[Request]]
) -> Comparison:
    """A comparison of these trials with both beside it, for each fleet that is tried and no opponent has changed."""
    plain = {name: trial for name, trial in trials.items() if not name.startswith(MARK)}
    found: list[Yardstick] = []
    for mark, scenario in fleets(plain).items():
        runs = [least_work(scenario, requests(seed), seed) for seed in comparison.seeds]
        found.append(Yardstick(name=f"oracle{mark}", numbers=numbers_of(runs)))
        bounds = [bound(scenario, requests(seed)) for seed in comparison.seeds]
        numbers = {name: number([each[name] for each in bounds]) for name in bounds[0]}
        found.append(Yardstick(name=f"bound{mark}", numbers=numbers))
    return replace(comparison, yardsticks=found)
