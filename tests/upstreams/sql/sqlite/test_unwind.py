"""Takes calls back among other people's writes: what nobody touched comes back, what somebody
touched is named."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.model import LISTED, Conflict, EffectState, OnConflict, Undo
from gateway.upstreams.sql.limits import SqlLimits
from tests.upstreams.sql.sqlite.driving import Driver, call_of, change, driving, rows_of

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n);
CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id));
CREATE TABLE two(a, b, v, PRIMARY KEY(a, b));
CREATE TABLE refs(a, b, FOREIGN KEY(a, b) REFERENCES two(a, b));
CREATE TABLE lax(id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, v);
CREATE TABLE log(what);
CREATE TRIGGER p_d AFTER DELETE ON p BEGIN INSERT INTO log VALUES('gone ' || old.name); END;
CREATE TRIGGER p_i AFTER INSERT ON p BEGIN INSERT INTO log VALUES('new ' || new.name); END;
INSERT INTO p VALUES(1, 'ann', 1), (2, 'ben', 2.0), (3, 'cec', NULL), (4, 'dee', x'00');
INSERT INTO c VALUES(1, 1), (2, 1), (3, 2);
INSERT INTO two VALUES(1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c');
INSERT INTO lax VALUES(1, 'x', 1), (2, 'y', 2);
DELETE FROM log;
"""
SKIP, FORCE, ABORT = OnConflict.SKIP, OnConflict.FORCE, OnConflict.ABORT


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [tuple(r) for r in db.execute(sql)]
    finally:
        db.close()


@pytest.fixture
async def driver(tmp_path: Path):  # type: ignore[no-untyped-def]
    async with driving(tmp_path / "a.db", SCHEMA) as opened:
        yield opened


async def test_what_others_did_to_other_rows_stays(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0 WHERE id < 3")
    change(driver.path, "UPDATE p SET n = 9 WHERE id = 3", "INSERT INTO p VALUES(9, 'zed', 9)")
    steps, _ = await driver.revert(done)
    assert (steps[0].state, steps[0].restored) == ("reverted", 2)
    assert rows(driver.path, "SELECT id, n FROM p ORDER BY id") == [
        (1, 1),
        (2, 2.0),
        (3, 9),
        (4, b"\x00"),
        (9, 9),
    ]


@pytest.mark.parametrize(
    ("agent", "other", "why", "key"),
    [
        ("UPDATE p SET n = 0 WHERE id = 1", "UPDATE p SET n = 7 WHERE id = 1", "changed", 1),
        ("UPDATE p SET n = 2 WHERE id = 1", "UPDATE p SET n = 2.0 WHERE id = 1", "changed", 1),
        ("UPDATE p SET n = 0 WHERE id = 4", "DELETE FROM p WHERE id = 4", "missing", 4),
        ("DELETE FROM p WHERE id = 4", "INSERT INTO p VALUES(4, 'new', 1)", "present", 4),
        ("DELETE FROM p WHERE id = 4", "INSERT INTO p VALUES(8, 'dee', 1)", "unique", 4),
        ("INSERT INTO p VALUES(8, 'x', 1)", "INSERT INTO c VALUES(9, 8)", "referenced", 8),
        ("INSERT INTO p VALUES(8, 'x', 1)", "UPDATE p SET n = 5 WHERE id = 8", "changed", 8),
        ("DELETE FROM c WHERE id = 3", "DELETE FROM p WHERE id = 2", "orphan", 3),
        ("UPDATE c SET p = 3 WHERE id = 3", "DELETE FROM p WHERE id = 2", "orphan", 3),
    ],
)
async def test_every_kind_of_conflict_is_named_and_changes_nothing(
    driver: Driver, agent: str, other: str, why: str, key: int
) -> None:
    done = await driver.do(agent)
    change(driver.path, other)
    left = rows_of(driver.path)
    steps, back = await driver.revert(done)
    assert back is None
    assert (steps[0].state, steps[0].restored, steps[0].reason) == (
        "conflict",
        0,
        "revert.conflict",
    )
    assert [(c.why, c.key["id"]) for c in steps[0].conflicts] == [(why, key)]
    assert rows_of(driver.path) == left


async def test_a_conflict_shows_before_after_and_now(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0 WHERE id = 1")
    change(driver.path, "UPDATE p SET n = 7, name = 'amy' WHERE id = 1")
    steps, _ = await driver.revert(done)
    assert steps[0].conflicts[0].as_json() == {
        "resource": "main.p",
        "key": {"id": 1},
        "before": {"id": 1, "name": "ann", "n": 1},
        "after": {"id": 1, "name": "ann", "n": 0},
        "now": {"id": 1, "name": "amy", "n": 7},
        "why": "changed",
    }


async def test_a_taken_unique_value_shows_who_has_it(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4")
    change(driver.path, "INSERT INTO p VALUES(8, 'dee', 'mine')")
    steps, _ = await driver.revert(done)
    assert steps[0].state == "conflict"
    assert steps[0].conflicts[0].now == {"id": 8, "name": "dee", "n": "mine"}


async def test_composite_foreign_keys_are_checked_too(driver: Driver) -> None:
    done = await driver.do("INSERT INTO two VALUES(5, 5, 'e')")
    change(driver.path, "INSERT INTO refs VALUES(5, 5)", "INSERT INTO refs VALUES(5, NULL)")
    steps, _ = await driver.revert(done)
    assert [c.why for c in steps[0].conflicts] == ["referenced"]
    change(driver.path, "DELETE FROM refs WHERE b = 5")
    steps, _ = await driver.revert(done)
    assert steps[0].state == "reverted"


async def test_merge_restores_the_columns_that_only_the_call_changed(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0")
    change(
        driver.path,
        "UPDATE p SET name = 'amy' WHERE id = 1",
        "UPDATE p SET n = 7, name = 'bob' WHERE id = 2",
        "DELETE FROM p WHERE id = 3",
    )
    steps, back = await driver.revert(done, on_conflict=OnConflict.MERGE)
    assert (steps[0].state, steps[0].restored, steps[0].more) == ("partial", 2, 0)
    assert [(c.why, c.key["id"]) for c in steps[0].conflicts] == [("changed", 2), ("missing", 3)]
    assert steps[0].detail is not None
    assert steps[0].detail.startswith("1 rows were merged")
    there = [(1, "amy", 1), (2, "bob", 7), (4, "dee", b"\x00")]
    assert rows(driver.path, "SELECT * FROM p ORDER BY id") == there
    assert back is not None
    steps, _ = await driver.revert(back)
    assert steps[0].state == "reverted"
    assert rows(driver.path, "SELECT id, name, n FROM p ORDER BY id") == [
        (1, "amy", 0),
        (2, "bob", 7),
        (4, "dee", 0),
    ]


async def test_a_merged_row_that_meets_a_unique_value_is_a_conflict(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET name = 'new' WHERE id = 1")
    change(driver.path, "UPDATE p SET n = 5 WHERE id = 1", "INSERT INTO p VALUES(9, 'ann', 0)")
    left = rows_of(driver.path)
    steps, _ = await driver.revert(done, on_conflict=OnConflict.MERGE)
    assert [(c.why, c.before) for c in steps[0].conflicts] == [
        ("unique", {"id": 1, "name": "ann", "n": 1})
    ]
    assert rows_of(driver.path) == left


async def test_a_step_holds_the_first_conflicts_and_the_watch_hears_of_all(driver: Driver) -> None:
    numbers = "WITH RECURSIVE g(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM g WHERE i < 349)"
    change(driver.path, f"INSERT INTO two {numbers} SELECT i, 0, 0 FROM g")
    done = await driver.do("UPDATE two SET v = 1 WHERE a >= 100")
    change(driver.path, "UPDATE two SET v = 2 WHERE a >= 100")
    heard: list[tuple[str, object]] = []

    class Ear:
        def conflict(self, call: str, conflict: Conflict) -> None:
            heard.append((call, conflict.key))

        def progress(self, done: int, total: int) -> None: ...

    call = call_of(99, "revert")
    undos = [(done.call.id, done.undo)]
    async with driver.upstream.unwind(call, undos, ABORT) as unwinding:
        unwinding.watch(Ear())
        (step,) = await unwinding.run()
    assert (step.state, step.more, len(step.conflicts)) == ("conflict", 250 - LISTED, LISTED)
    assert len({str(key) for _, key in heard}) == 250
    assert {id for id, _ in heard} == {done.call.id}


async def test_an_altered_table_is_told_column_by_column(driver: Driver) -> None:
    done = await driver.do("UPDATE lax SET v = 5")
    change(driver.path, "ALTER TABLE lax ADD COLUMN more TEXT", "ALTER TABLE lax RENAME v TO w")
    (step,), _ = await driver.revert(done)
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")
    assert step.detail is not None
    assert "column v is gone; column w is new; column more is new" in step.detail
    assert "Of 2 rows in the images, the values of id, u still" in step.detail
    change(driver.path, "DROP TABLE lax")
    (step,), _ = await driver.revert(done)
    assert (step.reason, "is gone" in str(step.detail)) == ("revert.schema_changed", True)


async def test_a_row_changed_and_changed_back_to_what_the_call_left_counts_as_untouched(
    driver: Driver,
) -> None:
    before = rows_of(driver.path)
    done = await driver.do("UPDATE p SET n = 0 WHERE id = 1")
    change(driver.path, "UPDATE p SET n = 7 WHERE id = 1", "UPDATE p SET n = 0 WHERE id = 1")
    steps, _ = await driver.revert(done)
    assert (steps[0].state, steps[0].conflicts) == ("reverted", ())
    assert rows_of(driver.path) == before


async def test_the_same_by_journal_is_a_conflict(tmp_path: Path) -> None:
    # Pages know nothing of values: whoever wrote has written.
    limits = SqlLimits(lock_timeout_s=1.0, row_images=0)
    async with driving(tmp_path / "a.db", SCHEMA, limits=limits) as driver:
        done = await driver.do("UPDATE p SET n = 0 WHERE id = 1")
        change(driver.path, "UPDATE p SET n = 7 WHERE id = 1", "UPDATE p SET n = 0 WHERE id = 1")
        there = rows_of(driver.path)
        steps, _ = await driver.revert(done)
        assert (steps[0].state, steps[0].reason) == ("conflict", "revert.conflict")
        assert rows_of(driver.path) == there


@pytest.mark.parametrize("mode", [SKIP, FORCE, OnConflict.MERGE])
async def test_the_revert_of_a_partial_revert_brings_back_what_stood_before_it(
    driver: Driver, mode: OnConflict
) -> None:
    first = await driver.do("UPDATE p SET n = 0")
    second = await driver.do("UPDATE p SET n = n + 1, name = name || '2' WHERE id < 3")
    change(
        driver.path,
        "UPDATE p SET name = 'mine' WHERE id = 1",
        "UPDATE p SET n = 'theirs' WHERE id = 4",
    )
    there = rows_of(driver.path)
    steps, back = await driver.revert(second, first, on_conflict=mode)
    assert any(s.conflicts for s in steps)
    assert back is not None
    assert rows_of(driver.path) != there
    again, _ = await driver.revert(back)
    assert again[0].state == "reverted"
    assert rows_of(driver.path) == there


async def test_skip_restores_what_it_can(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0")
    change(driver.path, "UPDATE p SET n = 7 WHERE id = 2")
    steps, _ = await driver.revert(done, on_conflict=SKIP)
    assert (steps[0].state, steps[0].restored, len(steps[0].conflicts)) == ("partial", 3, 1)
    assert rows(driver.path, "SELECT n FROM p ORDER BY id") == [(1,), (7,), (None,), (b"\x00",)]


async def test_skip_leaves_what_would_be_an_orphan_and_what_hangs_on_it(driver: Driver) -> None:
    change(driver.path, "CREATE TABLE d(id INTEGER PRIMARY KEY, c REFERENCES c(id))")
    change(driver.path, "INSERT INTO d VALUES(1, 3)", "INSERT INTO d VALUES(2, 1)")
    done = await driver.do("DELETE FROM d; DELETE FROM c WHERE id IN (1, 3)")
    change(driver.path, "DELETE FROM p WHERE id = 2")
    steps, _ = await driver.revert(done, on_conflict=SKIP)
    assert steps[0].state == "partial"
    assert sorted((c.resource, c.why) for c in steps[0].conflicts) == [
        ("main.c", "orphan"),
        ("main.d", "orphan"),
    ]
    assert rows(driver.path, "SELECT id FROM d") == [(2,)]
    assert rows(driver.path, "PRAGMA foreign_key_check") == []


async def test_force_overwrites_and_lists_what_it_overwrote(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0 WHERE id IN (1, 3); DELETE FROM p WHERE id = 4")
    change(
        driver.path,
        "UPDATE p SET n = 7 WHERE id = 1",
        "DELETE FROM p WHERE id = 3",
        "INSERT INTO p VALUES(4, 'other', 1)",
    )
    steps, _ = await driver.revert(done, on_conflict=FORCE)
    assert (steps[0].state, steps[0].restored) == ("reverted", 4)
    assert sorted(c.why for c in steps[0].conflicts) == ["changed", "missing", "present"]
    assert rows(driver.path, "SELECT id, n FROM p ORDER BY id") == [
        (1, 1),
        (2, 2.0),
        (3, None),
        (4, b"\x00"),
    ]


async def test_force_never_takes_a_unique_value_or_makes_an_orphan(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4; INSERT INTO p VALUES(8, 'x', 1)")
    change(driver.path, "INSERT INTO p VALUES(9, 'dee', 1)", "INSERT INTO c VALUES(9, 8)")
    left = rows_of(driver.path)
    steps, _ = await driver.revert(done, on_conflict=FORCE)
    assert sorted(c.why for c in steps[0].conflicts) == ["referenced", "unique"]
    assert steps[0].state == "partial"  # the rows of the log
    assert {k: v for k, v in rows_of(driver.path).items() if k != "log"} == {
        k: v for k, v in left.items() if k != "log"
    }


async def test_a_constraint_that_replaces_replaces_nobodys_row(driver: Driver) -> None:
    done = await driver.do("DELETE FROM lax WHERE id = 1")
    change(driver.path, "INSERT INTO lax VALUES(7, 'x', 'mine')")
    steps, _ = await driver.revert(done, on_conflict=FORCE)
    assert [c.why for c in steps[0].conflicts] == ["unique"]
    assert rows(driver.path, "SELECT v FROM lax WHERE id = 7") == [("mine",)]


async def test_a_row_that_somebody_put_back_is_named_and_left_alone(driver: Driver) -> None:
    done = await driver.do("UPDATE p SET n = 0 WHERE id = 1")
    change(driver.path, "UPDATE p SET n = 1 WHERE id = 1")
    steps, back = await driver.revert(done)
    assert (steps[0].state, steps[0].restored) == ("conflict", 0)
    assert [c.why for c in steps[0].conflicts] == ["undone"]
    assert back is None
    steps, _ = await driver.revert(done, on_conflict=SKIP)
    assert (steps[0].state, steps[0].restored) == ("reverted", 0)
    steps, _ = await driver.revert(done, on_conflict=FORCE)
    assert (steps[0].state, steps[0].conflicts) == ("reverted", ())


async def test_swapped_unique_values_come_back(driver: Driver) -> None:
    before = rows_of(driver.path)
    done = await driver.do(
        "UPDATE p SET name = 'tmp' WHERE id = 1; UPDATE p SET name = 'ann' WHERE id = 2;"
        "UPDATE p SET name = 'ben' WHERE id = 1"
    )
    steps, _ = await driver.revert(done)
    assert steps[0].state == "reverted"
    assert rows_of(driver.path) == before


async def test_a_chain_comes_back_newest_first(driver: Driver) -> None:
    before = rows_of(driver.path)
    first = await driver.do("UPDATE p SET n = n + 1")
    second = await driver.do("DELETE FROM p WHERE id > 2")
    third = await driver.do("INSERT INTO p VALUES(4, 'again', 4); UPDATE p SET n = 0")
    steps, back = await driver.revert(third, second, first)
    assert [s.state for s in steps] == ["reverted"] * 3
    assert rows_of(driver.path) == before
    assert back is not None
    again, _ = await driver.revert(back)
    assert again[0].state == "reverted"
    assert rows(driver.path, "SELECT id, name, n FROM p WHERE id = 4") == [(4, "again", 0)]


async def test_an_older_call_conflicts_with_a_newer_one_that_stays(driver: Driver) -> None:
    first = await driver.do("UPDATE p SET n = 10 WHERE id = 1")
    await driver.do("UPDATE p SET n = 20 WHERE id = 1")
    steps, _ = await driver.revert(first)
    assert steps[0].state == "conflict"


async def test_one_conflict_leaves_every_step_of_an_abort_alone(driver: Driver) -> None:
    first = await driver.do("UPDATE p SET n = 10 WHERE id = 1")
    second = await driver.do("UPDATE p SET n = 10 WHERE id = 2")
    change(driver.path, "UPDATE p SET n = 11 WHERE id = 1")
    left = rows_of(driver.path)
    steps, back = await driver.revert(second, first, on_conflict=ABORT)
    assert [(s.state, s.restored) for s in steps] == [("skipped", 0), ("conflict", 0)]
    assert back is None
    assert rows_of(driver.path) == left
    steps, _ = await driver.revert(second, first, on_conflict=SKIP)
    assert [s.state for s in steps] == ["reverted", "conflict"]


@pytest.mark.parametrize(
    "alter",
    [
        "ALTER TABLE p ADD COLUMN extra",
        "ALTER TABLE p RENAME COLUMN n TO m",
        "ALTER TABLE p RENAME TO q",
        "DROP TABLE c; DROP TABLE p",
    ],
)
async def test_an_altered_table_is_not_restored(driver: Driver, alter: str) -> None:
    done = await driver.do("UPDATE p SET n = 0 WHERE id = 1")
    change(driver.path, alter)
    left = rows_of(driver.path)
    steps, back = await driver.revert(done, on_conflict=FORCE)
    assert (steps[0].state, steps[0].reason) == ("failed", "revert.schema_changed")
    assert back is None
    assert rows_of(driver.path) == left


async def test_triggers_and_cascades_do_not_fire_in_a_revert(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4")
    assert rows(driver.path, "SELECT * FROM log") == [("gone dee",)]
    await driver.revert(done)
    assert rows(driver.path, "SELECT * FROM log") == []
    again = await driver.do("DELETE FROM p WHERE id = 4")
    assert rows(driver.path, "SELECT * FROM log") == [("gone dee",)]
    assert again.ran.measured.rows == 2


async def test_an_autoincrement_counter_never_goes_back(tmp_path: Path) -> None:
    schema = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v)"
    async with driving(tmp_path / "a.db", schema) as driver:
        done = await driver.do("INSERT INTO t(v) VALUES(1), (2)")
        assert done.undo.manifest["sequence"] == {"t": [None, 2]}
        await driver.revert(done)
        assert rows(driver.path, "SELECT seq FROM sqlite_sequence") == [(2,)]
        await driver.do("INSERT INTO t(v) VALUES(3)")
        assert rows(driver.path, "SELECT id FROM t") == [(3,)]


async def test_a_row_that_moved_in_a_vacuum_is_never_taken_for_another(tmp_path: Path) -> None:
    schema = "CREATE TABLE t(a); INSERT INTO t VALUES('a'), ('b'), ('c'), ('d');"
    async with driving(tmp_path / "a.db", schema) as driver:
        done = await driver.do("UPDATE t SET a = 'X' WHERE a = 'd'")
        change(driver.path, "DELETE FROM t WHERE a = 'a'", "VACUUM")
        left = rows_of(driver.path)
        steps, _ = await driver.revert(done)
        if steps[0].state == "reverted":
            assert sorted(rows(driver.path, "SELECT a FROM t")) == [("b",), ("c",), ("d",)]
        else:
            assert steps[0].conflicts
            assert rows_of(driver.path) == left


async def test_a_revert_leaves_its_own_receipt(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4")
    _, back = await driver.revert(done)
    assert back is not None
    assert await driver.upstream.happened(back.call.id) is EffectState.APPLIED


async def test_a_revert_that_is_left_changes_nothing(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4")
    left = rows_of(driver.path)
    undos = [(done.call.id, done.undo)]
    async with driver.upstream.unwind(call_of(77, ""), undos, ABORT) as unwinding:
        steps = await unwinding.run()
        assert steps[0].state == "reverted"
    assert rows_of(driver.path) == left
    assert await driver.upstream.happened("call-0077") is EffectState.NONE


async def test_foreign_keys_that_nobody_enforces_are_no_conflict(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA, foreign_keys=False) as driver:
        before = rows_of(driver.path)
        done = await driver.do("DELETE FROM p WHERE id = 1")
        assert set(done.ran.measured.tables) == {"main.p", "main.log"}
        change(driver.path, "INSERT INTO c VALUES(50, 1)", fk=False)
        steps, _ = await driver.revert(done)
        assert steps[0].state == "reverted"
        assert rows_of(driver.path)["p"] == before["p"]


async def test_an_image_of_another_making_is_refused(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id = 4")
    for manifest, image in [
        ({**done.undo.manifest, "format": 99}, done.undo.image),
        (done.undo.manifest, done.undo.image[:-3]),
        (done.undo.manifest, b""),
    ]:
        damaged = Undo(
            upstream="shop",
            kind="sqlite",
            reversibility=done.undo.reversibility,
            manifest=manifest,
            image=image,
        )
        undos = [(done.call.id, damaged)]
        async with driver.upstream.unwind(call_of(70, ""), undos, ABORT) as unwinding:
            steps = await unwinding.run()
        assert (steps[0].state, steps[0].reason) == ("failed", "revert.not_revertible")


async def test_images_are_paged_for_people(driver: Driver) -> None:
    done = await driver.do("DELETE FROM p WHERE id > 2")
    told = await driver.upstream.images(done.undo, offset=0, limit=100)
    assert len(told) == 4
    assert told[-1] == {
        "resource": "main.p",
        "key": {"id": 4},
        "before": {"id": 4, "name": "dee", "n": "\\x00"},
        "after": None,
    }
    assert await driver.upstream.images(done.undo, offset=3, limit=100) == told[3:]


async def test_more_rows_than_may_be_kept_are_kept_as_a_copy_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    change(path, "PRAGMA journal_mode = wal")
    async with driving(path, SCHEMA, limits=SqlLimits(max_capture_rows=2)) as driver:
        before = rows_of(path)
        done = await driver.do("UPDATE p SET n = 0")
        assert done.ran.measured.rows == 4
        assert not done.undo.manifest["rowwise"]
        steps, _ = await driver.revert(done)
        assert [s.state for s in steps] == ["reverted"]
        assert rows_of(path) == before


async def test_whoever_removed_the_row_that_took_anothers_place_is_not_overruled(
    driver: Driver,
) -> None:
    """The agent replaced one row by another; somebody then deleted what they found there."""
    done = await driver.do("DELETE FROM p WHERE id = 3; INSERT INTO p(id, name) VALUES(9, 'cyd')")
    change(driver.path, "DELETE FROM p WHERE name = 'cyd'")
    there = rows_of(driver.path)
    steps, _ = await driver.revert(done)
    assert steps[0].state == "conflict"
    assert "undone" in [c.why for c in steps[0].conflicts]
    assert rows_of(driver.path) == there
