"""The gateway's spine over a real store and a real database, as the killed child and the parent
that recovers put it together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.app import SystemClock, new_id
from gateway.deciding import Decider
from gateway.flights import Timing
from gateway.guards.freeze import Windows
from gateway.guards.limits import Limits
from gateway.interfaces import Probe, no_probe
from gateway.pipeline import Pipeline
from gateway.recovery import Recovery
from gateway.rehearsing import Rehearsals
from gateway.revert import Reverter
from gateway.store.images import Images
from gateway.store.shelves import FolderShelf
from gateway.store.sqlite import SqliteStore
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql.upstream import MariadbUpstream
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream
from tests.fixtures.fakes import FakePolicy
from tests.fixtures.http_shelf import HttpShelf
from tests.fixtures.shelf import ShelfUpstream
from tests.fixtures.walks import judges

LEASE = timedelta(seconds=120)


@dataclass(frozen=True)
class Place:
    """Where one case lives. ``target`` is a file, or the URL of a database."""

    folder: Path
    target: str
    limits: SqlLimits = field(default_factory=SqlLimits)  # of a file
    tool: str | None = None  # the URL of a tool double, with a place of this case's own
    plans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def mariadb(self) -> bool:
        return self.target.startswith("mysql://")

    @property
    def postgres(self) -> bool:
        return self.target.startswith("postgresql://")


@dataclass
class Gatehouse:
    store: SqliteStore
    upstream: Any
    pipeline: Pipeline
    reverter: Reverter
    recovery: Recovery


@asynccontextmanager
async def gatehouse(place: Place, probe: Probe = no_probe) -> AsyncIterator[Gatehouse]:
    clock = SystemClock()
    # Nothing is small enough to stay in the row: the file's own steps are killed too.
    images = Images(FolderShelf(place.folder / "images"), inline_bytes=0)
    store = SqliteStore(place.folder / "store.db", images=images, clock=clock, probe=probe)
    upstream = _upstream(place, images, clock, probe)
    policy = FakePolicy()
    upstreams: dict[str, Any] = {"bank": upstream}
    shelf = None
    if place.tool is not None:
        shelf = HttpShelf(place.tool, place.folder.name)
        upstreams["shelf"] = ShelfUpstream(shelf, clock, place.plans, probe=probe)
    decider = Decider(
        policy=policy,
        judges=judges(Limits(max_rows=1000, max_share=1.0)),
        windows=Windows([]),
        store=store,
        clock=clock,
    )
    timing = Timing(lease=LEASE, retention=timedelta(days=1))
    house = Gatehouse(
        store=store,
        upstream=upstream,
        pipeline=Pipeline(
            upstreams=upstreams,
            decider=decider,
            store=store,
            clock=clock,
            new_id=new_id,
            timing=timing,
            rehearsals=Rehearsals(rows=1000, probe=probe),
            probe=probe,
        ),
        reverter=Reverter(
            upstreams=upstreams,
            store=store,
            clock=clock,
            new_id=new_id,
            revision=lambda: policy.revision,
            lease=LEASE,
            retention=timing.retention,
            probe=probe,
        ),
        recovery=Recovery(upstreams=upstreams, store=store, lease=LEASE, probe=probe),
    )
    await store.open()
    try:
        await upstream.open()
        yield house
    finally:
        await upstream.close()
        await store.close()
        if shelf is not None:
            await shelf.close()


def _upstream(place: Place, images: Images, clock: SystemClock, probe: Probe) -> Any:
    if place.postgres:
        return PostgresUpstream(
            "bank",
            url=place.target,
            capture_url=None,
            environment="test",
            labels={},
            limits=SqlLimits(),
            allowed_functions=frozenset(),
            spooler=images,
            clock=clock,
            probe=probe,
        )
    if place.mariadb:
        return MariadbUpstream(
            "bank",
            url=place.target,
            capture_url=None,
            environment="test",
            limits=SqlLimits(),
            spooler=images,
            clock=clock,
            probe=probe,
        )
    return SqliteUpstream(
        "bank",
        Path(place.target),
        environment="test",
        labels={},
        limits=place.limits,
        folder=place.folder / "journals",
        spooler=images,
        clock=clock,
        probe=probe,
    )
