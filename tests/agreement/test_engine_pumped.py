"""A Batcher that jumps, on the kernel's virtual time: the pump's timers follow a wake-up that moves."""

import pytest

from penstock.base.rand import Rand
from penstock.drive.kernel import Kernel
from penstock.drive.pump import Pump, raise_bug
from penstock.engine.batcher import Batcher, EngineSpec
from penstock.engine.words import Abort, Event, Finish, Order, Submit, Woke


def ends(each_token: bool, seed: int) -> tuple[dict[str, tuple[float, Finish]], int]:
    """When each of sixty sequences ended, some of them aborted on the way, and how many callbacks it took."""
    kernel, luck, told = Kernel(), Rand(seed).stream("story"), dict[str, tuple[float, Finish]]()

    def perform(order: Order) -> None:
        if isinstance(order, Finish):
            told[order.id] = kernel.clock(), order

    batcher = Batcher(EngineSpec(max_num_seqs=8, kv_blocks=200), each_token)
    pump: Pump[Event, Order] = Pump(
        batcher, perform, kernel.clock, kernel.call_at, lambda now, event, orders: None, Woke(), raise_bug
    )
    at = 0.0
    for number in range(60):
        at += luck.expovariate(4.0)
        kernel.at(at, pump.tell, Submit(str(number), luck.randint(1, 600), luck.randint(1, 200)))
        if luck.random() < 0.2:
            kernel.at(at + luck.uniform(0.0, 9.0), pump.tell, Abort(str(number)))
    kernel.run()
    return told, kernel.done


@pytest.mark.parametrize("seed", range(3))
def test_a_pump_wakes_a_jumping_engine_in_time(seed: int) -> None:
    """Turned by a pump, an engine that jumps ends every sequence when one that is woken for each token does, with a
    fraction of the turns."""
    (jumps, few), (tokens, many) = ends(False, seed), ends(True, seed)
    assert [finish for _, finish in jumps.values()] == [finish for _, finish in tokens.values()]
    assert [at for at, _ in jumps.values()] == pytest.approx([at for at, _ in tokens.values()], abs=1e-9)
    assert len(jumps) == 60
    assert few < many / 3
