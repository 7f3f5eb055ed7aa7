"""GRANT and REVOKE: the whole dump, with every grant in its order, is the same after the revert."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.postgres.ddl.privileges import items, nearer
from tests.fixtures.postgres_ddl import OWNER, SchemaCase, different

pytestmark = pytest.mark.postgres

GRANTS = [
    "GRANT INSERT ON wide TO ddl_reader",
    "GRANT SELECT, UPDATE ON t, child TO ddl_reader, PUBLIC",
    "GRANT ALL ON w TO ddl_reader WITH GRANT OPTION",
    "GRANT SELECT (id, word), INSERT (id) ON wide TO PUBLIC, ddl_reader",
    "GRANT USAGE ON SEQUENCE alone TO ddl_reader",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public, box TO ddl_reader",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ddl_reader",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO ddl_reader",
    "GRANT CREATE ON SCHEMA box TO ddl_reader",
    "GRANT EXECUTE ON FUNCTION add(int, int) TO ddl_reader",
    "GRANT EXECUTE ON FUNCTION total(int) TO ddl_reader",
    "GRANT EXECUTE ON PROCEDURE nothing TO ddl_reader",
    "GRANT USAGE ON TYPE box.mood TO ddl_reader",
    "REVOKE ALL ON wide FROM ddl_reader",
    "REVOKE SELECT ON wide FROM PUBLIC",
    "REVOKE GRANT OPTION FOR SELECT ON wide FROM ddl_reader",
    "REVOKE UPDATE (word) ON wide FROM ddl_reader",
    "REVOKE UPDATE (v) ON t FROM PUBLIC",
    f"REVOKE ALL ON t, child FROM {OWNER}, PUBLIC",
    "REVOKE ALL ON FUNCTION add(text) FROM PUBLIC",
    "REVOKE USAGE ON TYPE colour FROM PUBLIC",
    "REVOKE USAGE ON SCHEMA box FROM ddl_reader",
    "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC CASCADE",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ddl_reader",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO PUBLIC",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "GRANT SELECT ON wide TO PUBLIC",
]


@pytest.mark.parametrize("sql", GRANTS)
async def test_the_whole_dump_is_the_same_after_the_revert(shop: SchemaCase, sql: str) -> None:
    before = shop.dump()
    done = await shop.call(sql)
    assert done.action.cls is ActionClass.ADMIN
    reverted = await shop.revert(done.undo)
    assert set(reverted.states) == {"reverted"}, reverted.steps
    assert shop.dump() == before


async def test_what_was_granted_can_be_done_again_and_taken_back_again(shop: SchemaCase) -> None:
    before = shop.dump()
    for sql in ("GRANT ALL ON t, wide TO ddl_reader", "REVOKE ALL ON t, wide FROM PUBLIC"):
        done = await shop.call(sql)
        granted = shop.dump()
        assert granted != before
        reverted = await shop.revert(done.undo)
        assert reverted.undo is not None
        again = await shop.revert(reverted.undo)
        assert again.undo is not None
        assert shop.dump() == granted
        assert (await shop.revert(again.undo)).states == ["reverted"]
        assert shop.dump() == before


async def test_what_another_role_gave_on_cannot_be_given_again_and_is_refused(
    case: SchemaCase,
) -> None:
    case.setup("CREATE TABLE a(id int); GRANT SELECT ON a TO ddl_reader WITH GRANT OPTION")
    case.admin.execute("SET ROLE ddl_reader; GRANT SELECT ON a TO PUBLIC; RESET ROLE")
    before = case.dump()
    for sql in ("REVOKE ALL ON a FROM ddl_reader CASCADE", "REVOKE ALL ON a FROM ddl_reader"):
        with pytest.raises(UpstreamError) as raised:
            await case.call(sql)
        assert raised.value.reason == (
            "undo.unavailable" if "CASCADE" in sql else "upstream.failed"
        )
        assert different(before, case.dump()) == []


async def test_privileges_that_others_changed_since_are_a_conflict(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("GRANT SELECT ON a TO ddl_reader")
    case.owner.execute("GRANT INSERT ON a TO PUBLIC")
    there = case.dump()
    assert (await case.revert(done.undo)).whys == {"changed"}
    assert case.dump() == there
    case.owner.execute("REVOKE INSERT ON a FROM PUBLIC")
    assert (await case.revert(done.undo)).states == ["reverted"]


REFUSED = [
    "GRANT ddl_reader TO ddl_agent",
    "GRANT CONNECT ON DATABASE postgres TO ddl_reader",
    "GRANT USAGE ON LANGUAGE sql TO ddl_reader",
    "GRANT SET ON PARAMETER work_mem TO ddl_reader",
    "ALTER DEFAULT PRIVILEGES FOR ROLE SESSION_USER GRANT SELECT ON TABLES TO ddl_reader",
]


@pytest.mark.parametrize("sql", REFUSED)
async def test_what_reaches_beyond_the_database_is_refused(shop: SchemaCase, sql: str) -> None:
    refused = await shop.parse(sql)
    assert isinstance(refused, Deny)
    assert refused.reason == "sql.unsupported"


def test_names_with_every_character_are_read_from_the_servers_own_text() -> None:
    found = items(['"a ""b=/"=r*w/"o""/"', "=U/x"])
    assert found is not None
    assert [(i.grantee, i.letters, i.grantor) for i in found] == [
        ('a "b=/', "r*w", 'o"/'),
        ("", "U", "x"),
    ]
    assert found[0].granted() == [("UPDATE", ""), ("SELECT", " WITH GRANT OPTION")]


def test_only_what_differs_is_taken_and_given_again() -> None:
    def table(*acl: str) -> dict[str, dict[str, Any]]:
        whole = {"relkind": "r", "schema": "s", "relname": "t", "owner": "o", "relacl": list(acl)}
        return {"relation 1 itself": whole}

    now, goal = table("o=arw/o", "x=r/o", "=r/o"), table("o=arw/o", "y=r/o", "=r/o")
    assert nearer(now, goal) == [
        'REVOKE ALL ON TABLE "s"."t" FROM "x"',
        'REVOKE ALL ON TABLE "s"."t" FROM PUBLIC',
        'GRANT SELECT ON TABLE "s"."t" TO "y"',
        'GRANT SELECT ON TABLE "s"."t" TO PUBLIC',
    ]
    assert nearer(table("o=arw/o", "x=r/z"), goal) == []
