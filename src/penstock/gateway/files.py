"""Open files: every call in progress has two, so a gateway takes as many as the system lets it have."""

import logging
import resource

log = logging.getLogger("penstock.gateway")


def raise_open_files(connections: int) -> None:
    """Take as many file descriptors as the hard limit allows: a call in progress has two. Warns where connections alone
    may use them up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections:
        log.warning(
            "the system allows %d open files, and %d connections may come: raise `ulimit -n`, or lower"
            " `limits.connections`", hard, connections,
        )  # fmt: skip
