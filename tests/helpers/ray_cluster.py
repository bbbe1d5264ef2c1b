"""A real Ray cluster of several nodes on this machine, in a process of its own, for as long as the tests run.

Run as a program it prints the cluster's address and holds it until its standard input ends.
"""

import atexit
import importlib
import importlib.util
import os
import signal
import subprocess
import sys

NODES = 3
HELD_BYTES = 80 << 20
"""Object store of a node, the least that Ray takes."""

_running: subprocess.Popen[str] | None = None
_address = ""


def installed() -> bool:
    """Whether there is a Ray to test with."""
    return importlib.util.find_spec("ray") is not None


def address() -> str:
    """Of the cluster; it is started by the first who asks."""
    global _running, _address
    if _running is None:
        _running = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip
        atexit.register(end)
        assert _running.stdout is not None
        lines = iter(_running.stdout.readline, "")
        _address = next(line for line in lines if line.startswith("cluster ")).split()[1]
    return _address


def lose_a_node() -> None:
    """One node that is not the head dies, and another joins."""
    address()
    assert _running is not None
    assert _running.stdin is not None
    assert _running.stdout is not None
    _running.stdin.write("lose\n")
    _running.stdin.flush()
    lines = iter(_running.stdout.readline, "")
    next(line for line in lines if line.startswith("lost"))


def end() -> None:
    """It ends, with all that runs in it."""
    global _running
    if _running is not None:
        _running.communicate(timeout=30)
        _running = None


def main() -> None:
    """See the top."""
    cluster_utils = importlib.import_module("ray.cluster_utils")
    node = {"num_cpus": 4, "object_store_memory": HELD_BYTES}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    others = [made.add_node(**node) for _ in range(NODES - 1)]
    sys.stdout.write(f"\ncluster {made.address}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        made.remove_node(others.pop(0), allow_graceful=False)
        others.append(made.add_node(**node))
        sys.stdout.write("\nlost\n")
        sys.stdout.flush()
    signal.alarm(20)  # one that does not end in its own time ends all the same
    made.shutdown()


if __name__ == "__main__":
    main()
