"""Random chains of row changes and schema changes: taken back together or one by one, newest
first, the whole dump is that of before. What is refused changes nothing.

``HOLDFAST_CASES`` sets the number of chains.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamError
from gateway.model import Reversibility, Undo
from tests.fixtures.postgres_ddl import Refused, SchemaCase, different, prepared_database
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres

CASES = int(os.environ.get("HOLDFAST_CASES") or 40)

SETUP = """
CREATE TABLE p(id int PRIMARY KEY, s text DEFAULT 'x', n numeric);
CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE, s text UNIQUE);
CREATE TABLE k(a int, b text, PRIMARY KEY (a, b));
CREATE TABLE d(v int, w text);
CREATE VIEW v AS SELECT p.id, c.s FROM p JOIN c ON c.p = p.id;
CREATE INDEX by_n ON p (n);
INSERT INTO p SELECT i, 's' || i, i * 0.50 FROM generate_series(1, 6) i;
INSERT INTO c SELECT i, 1 + i % 6, 'c' || i FROM generate_series(1, 9) i;
INSERT INTO k SELECT i, 'k' FROM generate_series(1, 3) i; INSERT INTO d VALUES (1, 'w'), (1, 'w');
"""
_TABLE = st.sampled_from(["p", "c", "k", "d", "made"])
_ID = st.integers(1, 9)
_STATEMENT = st.one_of(
    st.builds("DELETE FROM p WHERE id = {}".format, _ID),
    st.builds("UPDATE p SET n = n + {} WHERE id < 4".format, _ID),
    st.builds("UPDATE c SET s = s || 'u' WHERE id = {}".format, _ID),
    st.builds("INSERT INTO d VALUES ({0}, 'new')".format, _ID),
    st.builds("INSERT INTO k VALUES ({0}, 'new')".format, _ID),
    st.builds("DROP TABLE {} CASCADE".format, _TABLE),
    st.builds("DROP TABLE {}".format, _TABLE),
    st.builds("TRUNCATE {} CASCADE".format, _TABLE),
    st.builds("ALTER TABLE {} RENAME TO made".format, _TABLE),
    st.builds("ALTER TABLE {} ADD COLUMN extra int DEFAULT {}".format, _TABLE, _ID),
    st.builds("CREATE TABLE made AS SELECT * FROM {}".format, _TABLE),
    st.builds("CREATE INDEX ON {} (s)".format, _TABLE),
    st.sampled_from(
        [
            "DROP VIEW v",
            "DROP INDEX by_n",
            "ALTER TABLE p DROP COLUMN n",
            "ALTER TABLE p DROP COLUMN n CASCADE",
            "ALTER TABLE p ALTER n TYPE int",
            "ALTER TABLE p ALTER s DROP DEFAULT",
            "ALTER TABLE c DROP CONSTRAINT c_p_fkey",
            "ALTER TABLE d ADD PRIMARY KEY (v)",
            "ALTER TABLE k RENAME b TO bb",
            "CREATE VIEW w AS SELECT * FROM d",
            "CREATE TABLE made(id int PRIMARY KEY, p int REFERENCES p)",
        ]
    ),
)


class Place:
    """A database as ``SETUP`` makes it; made anew after whatever left it otherwise."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.name = ""
        self.before: list[str] = []

    def ready(self) -> None:
        if self.name:
            return
        self.name = prepared_database(self.server, setup=SETUP)
        with tempfile.TemporaryDirectory() as folder:
            case = SchemaCase(self.server, Path(folder), database=self.name)
            self.before = case.dump()
            asyncio.run(case.close())

    def leave(self) -> str:
        """The name, which has to be given back once the database is as it was."""
        name, self.name = self.name, ""
        return name


@pytest.fixture(scope="module")
def place(postgres_server: PostgresServer) -> Iterator[Place]:
    place = Place(postgres_server)
    yield place
    if place.name:
        postgres_server.drop_database(place.name)


async def _chain(place: Place, name: str, chain: list[str], *, together: bool) -> list[str]:
    """What differs in the dump once all is taken back."""
    with tempfile.TemporaryDirectory() as folder:
        case = SchemaCase(place.server, Path(folder), database=name)
        undos: list[Undo] = []
        ran: list[str] = []
        try:
            for sql in chain:
                try:
                    undos.append((await case.call(sql)).undo)
                    ran.append(sql)
                except (Refused, UpstreamError):
                    continue
            undos.reverse()
            changed = case.dump() if together else []
            again: Undo | None = None
            for group in [undos] if together else [[undo] for undo in undos]:
                reverted = await case.revert(*group)
                assert set(reverted.states) <= {"reverted"}, (ran, reverted.steps)
                again = reverted.undo
            differs = different(place.before, case.dump())
            if together and again is not None:
                await _again(case, again, changed, place.before, ran)
            return differs
        finally:
            await case.close()


async def _again(
    case: SchemaCase, undo: Undo, changed: list[str], before: list[str], ran: list[str]
) -> None:
    """The revert is taken back, and that as well."""
    assert undo.reversibility is Reversibility.EXACT, ran
    redone = await case.revert(undo)
    assert redone.states == ["reverted"], (ran, redone.steps)
    assert different(changed, case.dump()) == [], ran
    assert redone.undo is not None
    last = await case.revert(redone.undo)
    assert last.states == ["reverted"], (ran, last.steps)
    assert different(before, case.dump()) == [], ran


@given(chain=st.lists(_STATEMENT, min_size=1, max_size=6), together=st.booleans())
@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=not os.environ.get("HOLDFAST_CASES"),
    suppress_health_check=list(HealthCheck),
)
def test_a_chain_that_is_taken_back_leaves_no_trace(
    place: Place, chain: list[str], together: bool
) -> None:
    place.ready()
    name = place.leave()
    assert asyncio.run(_chain(place, name, chain, together=together)) == []
    place.name = name
