"""The functions that are ours give what SQLite's give, and never take long."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamError
from gateway.upstreams.sql.sqlite.connections import open_reader
from gateway.upstreams.sql.sqlite.texts import replace_slow
from tests.upstreams.sql.sqlite.driving import change, driving

PLAIN = apsw.Connection(":memory:")
OURS = apsw.Connection(":memory:")
replace_slow(OURS)

letters = st.text(st.sampled_from("aab-é😀 \0\x00f0"), max_size=8)
wide = st.text(max_size=90)
values = st.one_of(
    letters,
    wide,
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.sampled_from([b"", b"a", b"ab\x00", b"\xff\xc3", b"2d"]),
)


def told(db: apsw.Connection, name: str, arguments: tuple[object, ...]) -> object:
    call = f"{name}({', '.join('?' * len(arguments))})"
    try:
        return db.execute(
            f"SELECT typeof({call}), hex({call})",
            arguments * 2,  # type: ignore[arg-type]
        ).fetchall()
    except apsw.Error as error:
        return str(error)
    except UnicodeDecodeError:
        return None


@example("replace", "", "", None)
@example("trim", "\0", "\0", None)
@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["instr", "trim", "ltrim", "rtrim", "unhex", "replace"]), values, values, values
)
def test_the_answers_are_those_of_sqlite(name: str, a: object, b: object, c: object) -> None:
    arguments = (a, b, c) if name == "replace" else (a, b)
    ours, plain = told(OURS, name, arguments), told(PLAIN, name, arguments)
    if ours is None:
        # Text that is none: refused when it is read, and here a step earlier.
        with pytest.raises(UnicodeDecodeError):
            bytes.fromhex(plain[0][1]).decode()  # type: ignore[index]
    else:
        assert ours == plain


LONG = "printf('%.*c', 8000000, 'a')"
HALF = "printf('%.*c', 4000000, 'a')"


@pytest.mark.parametrize(
    ("sql", "refused"),
    [
        (f"SELECT instr({LONG}, {HALF} || 'b')", False),
        (f"SELECT length(replace({LONG}, {HALF} || 'b', 'x'))", False),
        (f"SELECT length(replace({LONG}, 'a', {HALF}))", True),
        (f"SELECT length(trim({LONG}, {HALF} || 'b'))", False),
        (f"SELECT length(rtrim({LONG}, 'b' || {HALF}))", False),
        (f"SELECT length(unhex({LONG}, {HALF}))", True),
        (f"SELECT instr(CAST({LONG} AS BLOB), CAST({HALF} || 'b' AS BLOB))", True),
        (
            "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 150000),"
            " o(v) AS (SELECT json_group_object('k' || i, i) FROM g)"
            " SELECT length(json_patch(v, v)) FROM o",
            True,
        ),
    ],
)
async def test_long_values_are_answered_or_refused_soon(
    tmp_path: Path, sql: str, refused: bool
) -> None:
    async with driving(tmp_path / "a.db", "CREATE TABLE t(a)") as driver:
        began = time.process_time()
        if refused:
            with pytest.raises(UpstreamError, match="too"):
                await driver.read(sql)
        else:
            assert (await driver.read(sql)).result["rows"]
        assert time.process_time() - began < 5


async def test_shorter_json_is_patched_and_the_limit_is_put_back(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", "CREATE TABLE t(a)") as driver:
        outcome = await driver.read("""SELECT json_patch('{"a": 1}', '{"b": 2}')""")
        assert outcome.result["rows"] == [['{"a":1,"b":2}']]
        for _ in range(8):  # every reader has its turn
            outcome = await driver.read("SELECT length(printf('%.*c', 1000000, 'a'))")
            assert outcome.result["rows"] == [[1000000]]


def test_a_schema_may_use_them(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    change(
        path,
        "CREATE TABLE t(a, g AS (trim(a, 'x')) STORED, CHECK (instr(a, 'y') = 0));"
        "CREATE INDEX i ON t(replace(a, 'a', 'b')); INSERT INTO t VALUES('xax')",
    )
    db = open_reader(path, busy_s=1, foreign_keys=True)
    try:
        sql = "SELECT g FROM t INDEXED BY i WHERE replace(a, 'a', 'b') = 'xbx'"
        assert db.execute(sql).fetchall() == [("a",)]
    finally:
        db.close()
