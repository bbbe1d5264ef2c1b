"""The settings of the ledger, and of the cache with its store."""

from typing import Annotated

from msgspec import Meta, Struct, field

from penstock.base.units import Bytes, Seconds
from penstock.core.cache.spec import CacheSpec

SQLITE_FILE = "ledger.db"


def _doc(text: str) -> Meta:
    return Meta(description=text)


class LedgerSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row for every call, on disk before its answer ends [M1, M2, M4, M5]. Needs the extra `ledger`."""

    folder: Annotated[
        str,
        Meta(
            min_length=1, description="directory of its journal, of this gateway alone; it is made where it is missing"
        ),
    ]
    database: Annotated[
        str | None,
        _doc(
            "URL of its database, like postgresql://user:${PASSWORD}@host/name (needs the extra `postgres`) or sqlite:////path/to/file.db; none: the SQLite file ledger.db in `folder`"
        ),
    ] = None
    fsync: Annotated[
        bool,
        _doc(
            "true: rows survive a loss of power too; every turn that ends calls then waits for the disk. false: they survive the end of the process, however it comes"
        ),
    ] = False
    journal_bytes: Annotated[
        Bytes, _doc("most that waits on disk for a database that is away; beyond, rows are lost and counted")
    ] = field(default=4 << 30, name="journal")
    keep_s: Annotated[Seconds | None, _doc("how long rows are kept; none: for ever. Sums per day stay")] = field(
        default=None, name="keep"
    )
    slow_query_s: Annotated[Seconds, _doc("queries that take longer are logged; 0: none")] = field(
        default=1.0, name="slow_query"
    )

    def url(self) -> str:
        """Of its database."""
        return self.database or f"sqlite:///{self.folder}/{SQLITE_FILE}"


class CacheConf(CacheSpec, frozen=True, kw_only=True):
    """Answers that are given again, and identical calls at the same time that are answered by one [C1, C2, C3]."""

    redis: Annotated[str | None, _doc("store that several gateways share: redis://host:port/database (rediss:// with TLS, unix:///path; :password@ before the host), needs the extra `redis`; none: each keeps its own")] = None
