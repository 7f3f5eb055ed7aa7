from __future__ import annotations

import psycopg
import pytest

from gateway.errors import UpstreamError
from gateway.model import Deny, OnConflict
from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.references import loose
from gateway.upstreams.sql.postgres.session import Session
from tests.fixtures.postgres_case import Case

_FAMILY = """
CREATE TABLE p(id int PRIMARY KEY, v text);
CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p);
INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 1);
"""


async def test_an_inserted_row_that_others_refer_to_is_not_taken_away(case: Case) -> None:
    case.setup(_FAMILY)
    done = await case.call("INSERT INTO p VALUES (3, 'c'), (4, 'd')")
    case.admin.execute("INSERT INTO c VALUES (9, 3)")
    there = case.dump()
    assert (await case.revert(done.undo)).whys == ["referenced"]
    assert case.dump() == there
    forced = await case.revert(done.undo, mode=OnConflict.FORCE)
    assert (forced.states, forced.steps[0].restored) == (["partial"], 1)
    assert case.admin.execute("SELECT max(id) FROM p").fetchone() == (3,)


async def test_a_deleted_row_whose_parent_is_gone_is_not_put_back(case: Case) -> None:
    case.setup(_FAMILY)
    done = await case.call("DELETE FROM c WHERE id = 1")
    case.admin.execute("DELETE FROM p WHERE id = 1")
    there = case.dump()
    for mode in OnConflict:
        assert (await case.revert(done.undo, mode=mode)).whys == ["orphan"]
        assert case.dump() == there


async def test_leaving_a_parent_leaves_its_children_too(case: Case) -> None:
    case.setup(
        "CREATE TABLE p(id int PRIMARY KEY, code int UNIQUE);"
        "CREATE TABLE c(id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);"
        "INSERT INTO p VALUES (1, 10), (2, 20); INSERT INTO c VALUES (1, 1), (2, 2)"
    )
    done = await case.call("DELETE FROM p")
    case.admin.execute("INSERT INTO p VALUES (7, 10)")
    reverted = await case.revert(done.undo, mode=OnConflict.SKIP)
    assert reverted.whys == ["orphan", "unique"]
    assert case.dump()["public.c"] == [b"", b"2\t2"]
    assert case.dump()["public.p"] == [b"", b"2\t20", b"7\t10"]


async def test_a_parent_that_others_are_deleting_is_waited_for(case: Case) -> None:
    case.setup(_FAMILY)
    done = await case.call("DELETE FROM c WHERE id = 1")
    with psycopg.connect(case.server.url(case.database)) as other:
        other.execute("DELETE FROM p WHERE id = 1")
        with pytest.raises(UpstreamError) as error:
            await case.revert(done.undo)
        other.rollback()
    assert error.value.reason == "upstream.timeout"
    assert (await case.revert(done.undo)).states == ["reverted"]


async def test_keys_over_several_columns_and_partitions_are_kept_intact(case: Case) -> None:
    case.setup(
        "CREATE TABLE p(id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
        "CREATE TABLE p_a PARTITION OF p FOR VALUES IN ('a');"
        "CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b');"
        "CREATE TABLE c(id int PRIMARY KEY, region text, pid int,"
        " FOREIGN KEY (region, pid) REFERENCES p(r, id));"
        "INSERT INTO p VALUES (1, 'a'), (2, 'b'); INSERT INTO c VALUES (1, 'a', 1)"
    )
    added = await case.call("INSERT INTO p VALUES (3, 'b')")
    gone = await case.call("DELETE FROM c WHERE id = 1")
    case.admin.execute("INSERT INTO c VALUES (5, 'b', 3), (6, 'b', NULL); DELETE FROM p_a")
    there = case.dump()
    assert (await case.revert(added.undo)).whys == ["referenced"]
    assert (await case.revert(gone.undo)).whys == ["orphan"]
    assert case.dump() == there


async def test_values_are_compared_as_those_that_they_refer_to(case: Case) -> None:
    case.setup(
        """
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE p(a text COLLATE "C" PRIMARY KEY, b text COLLATE loose UNIQUE);
        CREATE TABLE c(a text COLLATE "POSIX" REFERENCES p, b text COLLATE loose REFERENCES p(b));
        INSERT INTO p VALUES ('x', 'X'), ('y', 'Y'); INSERT INTO c VALUES ('x', 'x');
        """
    )
    before = case.dump()
    for sql in ("INSERT INTO c VALUES ('y', 'Y'), (NULL, 'X')", "DELETE FROM c", "DELETE FROM p "
                "WHERE a = 'y'", "UPDATE c SET a = 'y', b = 'y'"):  # fmt: skip
        done = await case.call(sql)
        assert (await case.revert(done.undo)).states == ["reverted"], sql
        assert case.dump() == before
    done = await case.call("INSERT INTO c VALUES ('y', 'Y')")
    assert (await case.revert(done.undo)).states == ["reverted"]
    done = await case.call("DELETE FROM c")
    case.admin.execute("DELETE FROM p")
    reverted = await case.revert(done.undo)
    assert (reverted.states, reverted.whys) == (["conflict"], ["orphan"])


async def test_without_a_trial_rows_that_refer_to_nothing_decide(case: Case) -> None:
    case.setup(f"{_FAMILY} INSERT INTO c VALUES (5, NULL)")
    case.admin.execute("ALTER TABLE c DROP CONSTRAINT c_p_fkey")
    case.admin.execute("ALTER TABLE c ADD CONSTRAINT loose FOREIGN KEY (p) REFERENCES p NOT VALID")
    untried = Deny(reason="undo.unavailable", detail="It could not be tried.")
    differs = Deny(reason="undo.inexact", detail="It would not come back.")
    async with case.peers.session() as peer:
        tables = await catalog.tables(peer, await _oids(peer))
        keys = await catalog.foreign_keys(peer, list(tables.values()))
        assert [key.valid for key in keys] == [False]
        assert await loose(peer, keys, None) is None
        assert await loose(peer, keys, untried) is None
        assert await loose(peer, keys, differs) is differs
        case.admin.execute("ALTER TABLE c DROP CONSTRAINT loose; INSERT INTO c VALUES (6, 66)")
        case.admin.execute("ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p NOT VALID")
        refusal = await loose(peer, keys, untried)
    assert refusal is not None
    assert (refusal.reason, "NOT VALID" in refusal.detail) == ("undo.unavailable", True)


async def _oids(peer: Session) -> list[int]:
    return [oid for (oid,) in await peer.rows(
        "SELECT oid::int8 FROM pg_class WHERE relname IN ('p', 'c')"
    )]  # fmt: skip
