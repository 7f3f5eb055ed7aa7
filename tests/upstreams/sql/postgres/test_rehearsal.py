"""The way back is tried in the agent's own transaction before it commits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.interfaces import Captured
from gateway.model import Deny, Permit, Undo
from tests.fixtures.postgres_case import Case

_SHOP = """
CREATE TABLE p(id int PRIMARY KEY, name text UNIQUE, v numeric, twice int GENERATED ALWAYS AS
  (id * 2) STORED);
CREATE TABLE c(id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, p int REFERENCES p ON DELETE
  CASCADE);
CREATE TABLE bag(v text, n int);
CREATE TABLE log(what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log VALUES (old.name); RETURN old; END $$;
CREATE TRIGGER p_d AFTER DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO p SELECT i, 'n' || i, 1.0 FROM generate_series(1, 5) i;
INSERT INTO c(p) SELECT i % 5 + 1 FROM generate_series(1, 9) i;
INSERT INTO bag VALUES ('a', 1), ('a', 1), ('b', NULL);
"""


async def tried(
    case: Case, sql: str, spoil: Callable[[Undo], Undo] | None = None, *, demanded: bool = True
) -> Deny | None:
    """What the rehearsal says; the call commits all the same."""
    async with case.agents.session() as session:
        attempt = case.attempt(session, sql)
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny), captured
        if spoil is not None:
            attempt._undo = spoil(captured.undo)
        said = await attempt.rehearse(demanded=demanded)
        await attempt.commit(Permit.issue("call_1", 1))
    return said


def able(case: Case) -> None:
    """Gives the agent's role what a rehearsal of everything needs."""
    case.admin.execute("ALTER ROLE agent SUPERUSER")


@pytest.fixture(autouse=True)
def _unprivileged_again(case: Case):  # type: ignore[no-untyped-def]
    yield
    case.admin.execute("ALTER ROLE agent NOSUPERUSER")


STATEMENTS = [
    "DELETE FROM p WHERE id <= 2",
    "DELETE FROM p",
    "UPDATE p SET name = name || 'x', v = 1.00",
    "UPDATE p SET id = id + 1 WHERE id = 5 AND NOT EXISTS (SELECT FROM c WHERE p = 5)",
    "UPDATE bag SET n = 7 WHERE v = 'a'",
    "DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag)",
    "INSERT INTO c(p) VALUES (1), (2)",
]


@pytest.mark.parametrize("sql", STATEMENTS)
async def test_a_rehearsal_that_passes_leaves_the_call_as_it_was(case: Case, sql: str) -> None:
    case.setup(_SHOP)
    await case.call(sql)
    plain = case.dump()
    case.setup(_SHOP)
    able(case)
    assert await tried(case, sql) is None
    assert case.dump() == plain


async def test_savepoints_of_an_agent_are_not_those_of_a_rehearsal(case: Case) -> None:
    case.setup(_SHOP)
    able(case)
    before = case.dump()
    texts = [
        "SAVEPOINT rehearsal", "DELETE FROM c", "SAVEPOINT call", "DELETE FROM bag",
        "ROLLBACK TO call", "SAVEPOINT attempt", "UPDATE bag SET n = 8",
    ]  # fmt: skip
    async with case.agents.session() as session:
        attempt = case.attempt(session, *texts)
        await attempt.run()
        captured = await attempt.capture()
        assert isinstance(captured, Captured)
        assert await attempt.rehearse(demanded=True) is None
        await attempt.commit(Permit.issue("call_1", 1))
    after = case.dump()
    assert after["public.c"] == [b""]
    assert after["public.bag"] != before["public.bag"]
    assert (await case.revert(captured.undo)).states == ["reverted"]
    assert case.dump() == before


# One digit of no weight and no sign, in binary; then come the digits shown and the digit itself.
_NUMERIC = b"\0\1\0\0\0\0"


@pytest.mark.parametrize(
    ("sql", "old", "new"),
    [
        ("DELETE FROM p WHERE id <= 2", b"n1", b"n7"),
        ("DELETE FROM p WHERE id <= 2", _NUMERIC + b"\0\1\0\1", _NUMERIC + b"\0\2\0\1"),
        ("UPDATE bag SET n = 7 WHERE v = 'a'", b"a\0\0\0\4\0\0\0\1", b"a\0\0\0\4\0\0\0\2"),
    ],
)
async def test_images_that_are_not_exact_are_found(
    case: Case, sql: str, old: bytes, new: bytes
) -> None:
    case.setup(_SHOP)
    able(case)

    def spoil(undo: Undo) -> Undo:
        assert old in undo.image
        return replace(undo, image=undo.image.replace(old, new, 1))

    said = await tried(case, sql, spoil)
    assert said is not None
    assert said.reason == "undo.inexact"


async def test_a_missing_table_is_found(case: Case) -> None:
    case.setup(_SHOP)
    able(case)

    def spoil(undo: Undo) -> Undo:
        kept = [t for t in undo.manifest["tables"] if t["name"] != "log"]
        return replace(undo, manifest={**undo.manifest, "tables": kept})

    said = await tried(case, "DELETE FROM p WHERE id = 1", spoil)
    assert said is not None
    assert said.reason == "undo.inexact"


async def test_what_the_agents_role_may_not_do_cannot_be_rehearsed(case: Case) -> None:
    case.setup(_SHOP)
    said = await tried(case, "DELETE FROM p WHERE id = 1")
    assert said is not None
    assert said.reason == "undo.unavailable"
    assert await tried(case, "DELETE FROM p WHERE id = 2", demanded=False) is None
    # Without triggers and acting keys the rights of the statement are enough.
    assert await tried(case, "DELETE FROM bag") is None


async def test_a_large_table_is_compared_by_the_touched_keys(case: Case) -> None:
    case.setup(
        "CREATE TABLE big(a int, b text, v text, PRIMARY KEY (a, b));"
        "INSERT INTO big SELECT i, 'k' || i, repeat('x', 400) FROM generate_series(1, 25000) i"
    )
    assert await tried(case, "DELETE FROM big WHERE a <= 3") is None

    def spoil(undo: Undo) -> Undo:
        return replace(undo, image=undo.image.replace(b"xxx", b"xxy", 1))

    said = await tried(case, "UPDATE big SET v = 'z' WHERE a = 9", spoil)
    assert said is not None
    assert said.reason == "undo.inexact"
