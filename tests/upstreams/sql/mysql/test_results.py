from __future__ import annotations

from tests.fixtures.mariadb_case import Case

COLUMNS = (
    ("TINYINT", "1", 1, "tinyint"),
    ("INT UNSIGNED", "7", 7, "int unsigned"),
    ("BIGINT", "9007199254740993", "9007199254740993", "bigint"),
    ("DECIMAL(20,5)", "1.10", "1.10000", "decimal"),
    ("DOUBLE", "0.1", 0.1, "double"),
    ("BIT(9)", "b'101'", 5, "bit"),
    ("VARCHAR(9)", "'é '", "é ", "varchar"),
    ("VARCHAR(9) CHARACTER SET latin1", "_latin1 X'E9'", "é", "varchar"),
    ("VARBINARY(9)", "X'00FF'", "\\x00ff", "varbinary"),
    ("BLOB", "X''", "\\x", "blob"),
    ("LONGTEXT", "'x'", "x", "text"),
    ("ENUM('p', 'q')", "'q'", "q", "enum"),
    ("SET('p', 'q')", "'p,q'", "p,q", "set"),
    ("DATE", "'2020-02-29'", "2020-02-29", "date"),
    ("DATETIME(6)", "'2020-01-01 00:00:00.5'", "2020-01-01 00:00:00.500000", "datetime"),
    ("TIME(3)", "'-838:59:59'", "-838:59:59.000", "time"),
    ("YEAR", "2020", "2020", "year"),
    ("JSON", "'{\"a\": 1.0}'", '{"a": 1.0}', "text"),
    ("UUID", "'a3aeb1a6-e92f-11ef-8b21-0242ac110002'", "a3aeb1a6-e92f-11ef-8b21-0242ac110002",
     "char"),
)  # fmt: skip


async def test_values_keep_what_json_cannot_hold(case: Case) -> None:
    made = ", ".join(f"c{i} {type_}" for i, (type_, *_) in enumerate(COLUMNS))
    values = ", ".join(value for _, value, *_ in COLUMNS)
    case.setup(f"CREATE TABLE t ({made})", f"INSERT INTO t VALUES ({values})")
    case.run(f"INSERT INTO t VALUES ({', '.join('NULL' for _ in COLUMNS)})")
    outcome = await case.read("SELECT * FROM t")
    assert outcome.result is not None
    first, second = outcome.result["rows"]
    assert first == [shown for *_, shown, _ in COLUMNS]
    assert second == [None] * len(COLUMNS)
    names = [c["type"] for c in outcome.result["columns"]]
    assert [n.removeprefix("long") for n in names] == [name for *_, name in COLUMNS]
    assert outcome.result["affected"] == 0
