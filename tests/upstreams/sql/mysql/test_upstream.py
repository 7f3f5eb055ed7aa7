from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Deny, Reversibility
from gateway.store.images import Images
from gateway.upstreams.sql.mysql.upstream import MariadbUpstream
from tests.fixtures.mariadb_case import Case, Clock

T = ("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)")


def unreachable() -> MariadbUpstream:
    return MariadbUpstream(
        "app",
        url="mysql://someone:secret@127.0.0.1:1/x",
        capture_url=None,
        environment="test",
        spooler=Images(),
        clock=Clock(),
    )


async def test_what_policy_sees(case: Case) -> None:
    case.setup(*T)
    action = await case.parse("DELETE FROM t WHERE id = ?", [1])
    assert action.cls is ActionClass.DESTRUCTIVE
    assert action.reversibility is Reversibility.EXACT
    assert action.sql is not None
    assert (action.sql.dialect, action.sql.text) == ("mariadb", "DELETE FROM t WHERE id = ?")
    assert action.sql.params == [1]
    assert action.resource.type == "mariadb"
    assert (await case.parse("SELECT 1")).reversibility is Reversibility.NONE


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"sql": 1}, "malformed"),
        ({"sql": "SELECT 1", "params": {"a": 1}}, "malformed"),
        ({"sql": "SELECT 1", "stdin": ["1"]}, "malformed"),
        ({"sql": "SELECT 1\0"}, "malformed"),
        ({"sql": "  ;  "}, "sql.unparsable"),
        ({"sql": "SELECT {{ a }}"}, "sql.unparsable"),
        ({"sql": "SELECT\u00a01"}, "sql.unparsable"),
        ({"sql": "SELECT " + "(" * 300 + "1" + ")" * 300}, "too_large"),
        ({"sql": "SELECT '" + "x" * 300_000 + "'"}, "too_large"),
        ({"sql": "SELECT " + ", ".join(["sleep(1)"] * 900)}, "action.unsupported"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    case: Case, request_: dict[str, object], reason: str
) -> None:
    import dataclasses

    call = dataclasses.replace(case.request("x"), request=request_)
    refusal = await case.source.parse(call)
    assert isinstance(refusal, Deny)
    assert refusal.reason == reason


async def test_images_are_shown_page_by_page(case: Case) -> None:
    case.setup(*T)
    done = await case.call("UPDATE t SET v = v + 1")
    shown = await case.source.images(done.undo, offset=1, limit=5)
    assert shown == [
        {
            "resource": f"{case.database}.t",
            "key": {"id": "2"},
            "before": {"id": "2", "v": "2"},
            "after": {"id": "2", "v": "3"},
        }
    ]


async def test_a_database_that_cannot_be_reached_names_nothing() -> None:
    source = unreachable()
    await source.open()
    (finding,) = await source.check()
    assert finding.level == "error"
    assert "secret" not in finding.message
    assert "secret" not in repr(source)
    await source.close()


async def test_the_table_of_receipts_is_made_when_it_is_missing(case: Case) -> None:
    case.setup(*T)
    case.run("DROP DATABASE holdfast")
    done = await case.call("DELETE FROM t WHERE id = 1")
    assert case.run(f"SELECT state FROM holdfast.receipts WHERE call_id = '{done.receipt}'") == [
        ("done",)
    ]


async def test_without_the_right_to_receipts_every_write_is_refused(case: Case) -> None:
    case.setup(*T)
    before = case.dump()
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"REVOKE ALL ON holdfast.* FROM agent@{host}")
    with pytest.raises(UpstreamError) as error:
        await case.call("DELETE FROM t WHERE id = 1")
    assert error.value.reason == "undo.unavailable"
    assert case.dump() == before
    findings = await case.source.check()
    assert any("GRANT INSERT ON holdfast.receipts" in f.message for f in findings)


async def test_a_server_of_this_machine_tells_its_folder(case: Case) -> None:
    folder = await case.source.place()
    assert folder is not None
    assert (folder / "mysql").is_dir()
    nowhere = unreachable()
    assert await nowhere.place() is None
    await nowhere.close()
