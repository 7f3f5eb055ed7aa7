"""Every kind of statement that the grammar knows stands in the table, and is what it says there."""

from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.libpg import parse, pg
from gateway.upstreams.sql.postgres.schema_statements import named
from gateway.upstreams.sql.postgres.walk import name_of, unwrap
from tests.matrix.statements import DOCUMENT, Entry, entries, others, written
from tests.upstreams.sql.postgres.ddl.test_altering import CHANGES, INEXACT, TRIED
from tests.upstreams.sql.postgres.ddl.test_dropping import DROPS
from tests.upstreams.sql.postgres.ddl.test_privileges import GRANTS
from tests.upstreams.sql.postgres.ddl.test_truncating import TRUNCATES

ENTRIES = list(entries())


def test_no_kind_of_statement_is_missing() -> None:
    fields = pg.Node.DESCRIPTOR.oneofs_by_name["node"].fields
    known = {f.message_type.name for f in fields if f.message_type.name.endswith("Stmt")}
    told = {e.kind for e in ENTRIES if e.part == "statements"} | others()
    assert known - told == set()
    assert told - known == set()


def test_only_objects_and_changes_of_the_table_are_accepted() -> None:
    told = {(entry.part, entry.kind) for entry in ENTRIES if {"exact", "tried"} & {*entry.texts}}
    for number in pg.ObjectType.values():
        drop = pg.DropStmt(remove_type=number)
        kind = pg.ObjectType.Name(number).removeprefix("OBJECT_")
        assert isinstance(named(drop), Deny) is (("drop", kind) not in told), kind
    for number in pg.AlterTableType.values():
        alter = pg.AlterTableStmt(objtype=pg.OBJECT_TABLE)
        command = pg.Node()
        command.alter_table_cmd.subtype = number
        alter.cmds.append(command)
        kind = pg.AlterTableType.Name(number).removeprefix("AT_")
        assert isinstance(named(alter), Deny) is (("alter", kind) not in told), kind


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.part}-{e.kind}")
def test_each_is_what_the_table_says(entry: Entry) -> None:
    tested = {
        "exact": {*CHANGES, *DROPS, *GRANTS, *TRUNCATES},
        "inexact": {*INEXACT},
        "tried": {*TRIED},
    }
    for verdict, text in entry.texts.items():
        kinds = {name_of(unwrap(one.stmt)) for one in parse(text).stmts}
        if entry.part == "statements":
            assert entry.kind in kinds
        judged = read(text, 10_000)
        assert isinstance(judged, Deny) is (verdict == "refused"), text
        if verdict in tested:
            assert text in tested[verdict]


def test_the_page_is_generated_from_the_table() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == written(document), "run `python -m tests.matrix`"
