"""The spool: a bounded way into a thread."""

import threading

from penstock.drive.spool import Spool


def test_items_arrive_in_order() -> None:
    """Everything put is written once, in order, before flush returns."""
    written: list[int] = []
    spool: Spool[int] = Spool(written.extend, limit=10_000)
    for number in range(5000):
        assert spool.put(number)
    assert spool.flush()
    assert written == list(range(5000))
    assert spool.close()


def test_a_full_spool_drops_and_counts() -> None:
    """While the writer is stuck nothing waits: the surplus is dropped and counted, the rest is written later."""
    gate, stuck = threading.Event(), threading.Event()
    written: list[int] = []

    def write(batch: list[int]) -> None:
        stuck.set()
        assert gate.wait(10)
        written.extend(batch)

    spool: Spool[int] = Spool(write, limit=10)
    spool.put(0, now=True)
    assert stuck.wait(10)
    assert [spool.put(number) for number in range(1, 13)] == [True] * 9 + [False] * 3
    assert spool.dropped == 3
    assert not spool.flush(0.01)
    assert not spool.close(0.01)
    gate.set()
    assert spool.close()
    assert written == list(range(10))


def test_the_bound_may_count_bytes() -> None:
    """With a size function the limit is on the sum of sizes."""
    spool: Spool[bytes] = Spool(lambda batch: None, limit=10, interval_s=60, size=len)
    assert [spool.put(b"12345"), spool.put(b"12345"), spool.put(b"1")] == [True, True, False]
    assert spool.close()
    assert not spool.put(b"late")


def test_a_write_that_fails_is_counted_and_the_next_is_tried() -> None:
    """Trouble with the disk costs the batch, not the thread."""
    written: list[str] = []

    def write(batch: list[str]) -> None:
        if "bad" in batch:
            raise OSError
        written.extend(batch)

    spool: Spool[str] = Spool(write, limit=10)
    spool.put("bad")
    assert spool.flush()
    spool.put("good")
    assert spool.close()
    assert (spool.errors, written) == (1, ["good"])
