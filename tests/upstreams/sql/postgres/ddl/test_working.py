from __future__ import annotations

import pytest

from gateway.model import Action
from tests.fixtures.postgres_ddl import Refused, SchemaCase, different

pytestmark = pytest.mark.postgres


async def test_tables_that_go_are_named_in_the_extent(shop: SchemaCase) -> None:
    call = shop.call_of("DROP TABLE parent, t CASCADE")
    action = await shop.upstream.parse(call)
    assert isinstance(action, Action)
    async with shop.upstream.attempt(call, action) as attempt:
        ran = await attempt.run()
    assert {"public.parent", "public.t"} <= set(ran.measured.tables)
    assert ran.measured.rows == 0


async def test_rows_and_schema_in_one_text_are_sent_apart(shop: SchemaCase) -> None:
    before = shop.dump()
    with pytest.raises(Refused) as raised:
        await shop.call("DELETE FROM child; DROP TABLE guarded")
    assert raised.value.deny.reason == "undo.unavailable"
    assert different(before, shop.dump()) == []


async def test_what_runs_in_the_dark_is_found_before_the_commit(case: SchemaCase) -> None:
    """Event triggers act on any schema change; what they do to rows is no part of the way back."""
    case.setup("CREATE TABLE a(id int); CREATE TABLE log(x text); GRANT ALL ON log TO PUBLIC")
    case.admin.execute(
        "CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.log VALUES (tg_tag); END $$;"
        "CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION noted()"
    )
    before = case.dump()
    with pytest.raises(Refused, match=r"public\.log"):
        await case.call("DROP TABLE a")
    assert different(before, case.dump()) == []
    case.admin.execute("DROP EVENT TRIGGER noting")


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER SEQUENCE s RESTART INCREMENT 3",
        "ALTER SEQUENCE s RESTART; COMMENT ON TABLE a IS 'x'",
        "ALTER TABLE a ALTER id RESTART, ADD COLUMN y int",
    ],
)
async def test_a_restart_together_with_other_changes_is_refused(case: SchemaCase, sql: str) -> None:
    case.setup(
        "CREATE SEQUENCE s; SELECT setval('s', 9); CREATE TABLE a(id int GENERATED ALWAYS AS "
        "IDENTITY, x int); INSERT INTO a (x) VALUES (1), (2)"
    )
    before = case.dump()
    with pytest.raises(Refused, match="sets sequences anew and changes more"):
        await case.call(sql)
    assert different(before, case.dump()) == []


async def test_a_sequence_that_was_drawn_from_since_its_restart_is_not_set_behind(
    case: SchemaCase,
) -> None:
    case.setup("CREATE SEQUENCE s; SELECT setval('s', 9)")
    done = await case.call("ALTER SEQUENCE s RESTART WITH 100")
    case.owner.execute("SELECT nextval('s'), nextval('s')")
    reverted = await case.revert(done.undo)

    assert reverted.states == ["reverted"]
    found = case.owner.execute("SELECT last_value, is_called FROM s").fetchone()
    assert found == (101, True)
