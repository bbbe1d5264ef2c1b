"""One replica that somebody adds at run time, held against the same rules as one of the file.

What comes over the admin API names no variables and no secret files: who may add a replica shall not thereby read the
gateway's environment or disk by having them sent to an address of his choice.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.base.errors import ConfigError
from penstock.base.nouns import Replica
from penstock.config.fleet import Fleet, add_replica
from penstock.config.load import read_text
from penstock.config.mistakes import Mistakes
from penstock.config.schema import Access, PoolConf, ReplicaConf
from penstock.config.shape import Shape


class AddedReplica(ReplicaConf, frozen=True, kw_only=True):
    """A replica as in the file, and the pool that it joins."""

    pool: Annotated[str, Meta(description="the name of the pool that it joins")]


def parse_replica(raw: Any) -> tuple[Replica, Access]:
    """A replica, and what it must be shown, from plain data (decoded JSON). Raises ConfigError with all mistakes."""
    mistakes = Mistakes()
    if not isinstance(raw, dict):
        raise ConfigError([f"the replica: found {mistakes.found((), raw)}, expected a mapping with `pool` and `url`"])
    conf = msgspec.convert(Shape(AddedReplica, mistakes).read(raw), AddedReplica)

    def read_file(path: str) -> str:
        if path != conf.tls.ca:
            raise PermissionError(1, "no files are read for the admin API")
        return read_text(path)

    fleet = Fleet()
    add_replica(conf, PoolConf(name=conf.pool or "?"), (), fleet, mistakes, read_file)
    mistakes.raise_if_any()
    replica = next(iter(fleet.replicas.values()))
    return replica, fleet.access[replica.id]
