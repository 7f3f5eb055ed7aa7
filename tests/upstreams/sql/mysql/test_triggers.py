from __future__ import annotations

import pytest

from gateway.upstreams.sql.mysql.images import Change, TableImage
from gateway.upstreams.sql.mysql.triggers import way
from tests.fixtures.mariadb_case import Case, Refused
from tests.upstreams.sql.mysql.test_images import table

CAME, WENT = Change(None, (b"1", b"")), Change((b"2", b""), None)
CHANGED = Change((b"3", b""), (b"3", b"x"))


@pytest.mark.parametrize(
    ("changes", "events", "replace", "fires"),
    [
        ((CAME,), set(), True, set()),
        ((CAME,), {"INSERT"}, False, set()),
        ((CAME,), {"DELETE"}, False, {"DELETE"}),
        ((WENT,), {"INSERT"}, False, {"INSERT"}),
        ((WENT,), {"DELETE", "UPDATE"}, False, set()),
        ((CHANGED,), {"UPDATE"}, True, set()),
        ((CHANGED,), {"INSERT"}, False, set()),
        ((CHANGED,), {"INSERT", "UPDATE"}, False, {"UPDATE"}),
    ],
)
def test_the_way_back_goes_around_triggers_where_it_can(
    changes: tuple[Change, ...], events: set[str], replace: bool, fires: set[str]
) -> None:
    found = way(TableImage(table=table("id"), changes=changes).summary(), events)
    assert (found.replace, found.fires) == (replace, fires)


async def test_a_refusal_names_the_triggers(case: Case) -> None:
    """The server recomputes nothing for events, so that way is closed for generated columns."""
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id + 1) STORED)",
        "INSERT INTO t (id) VALUES (1)",
        "CREATE TRIGGER watch BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id",
    )
    with pytest.raises(Refused) as refused:
        await case.call("DELETE FROM t")
    assert refused.value.deny.extra["triggers"] == ["watch"]


async def test_without_the_right_to_events_a_trigger_stands_in_the_way(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE TRIGGER watch BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 7",
    )
    before = case.dump()
    done = await case.call("DELETE FROM t")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    case.run("SET GLOBAL slave_run_triggers_for_rbr = YES")
    try:
        with pytest.raises(Refused) as refused:
            await case.call("DELETE FROM t")
    finally:
        case.run("SET GLOBAL slave_run_triggers_for_rbr = NO")
    assert refused.value.deny.reason == "undo.unavailable"
