from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import ImageDamaged
from gateway.upstreams.sql.postgres.images import decode
from gateway.upstreams.sql.postgres.showing import page
from tests.fixtures.postgres_case import Case

_T = "CREATE TABLE t(id int PRIMARY KEY, v text, n numeric); INSERT INTO t VALUES "


async def test_rows_are_paired_by_their_key(case: Case) -> None:
    case.setup(_T + "(1, 'a', 1.10), (2, NULL, NULL)")
    done = await case.call("UPDATE t SET v = 'b' WHERE id = 1", "DELETE FROM t WHERE id = 2",
                           "INSERT INTO t VALUES (3, '', 'NaN')")  # fmt: skip
    assert await case.shown(done.undo) == [
        {
            "resource": "public.t",
            "key": {"id": "1"},
            "before": {"id": "1", "v": "a", "n": "1.10"},
            "after": {"id": "1", "v": "b", "n": "1.10"},
        },
        {
            "resource": "public.t",
            "key": {"id": "2"},
            "before": {"id": "2", "v": None, "n": None},
            "after": None,
        },
        {
            "resource": "public.t",
            "key": {"id": "3"},
            "before": None,
            "after": {"id": "3", "v": "", "n": "NaN"},
        },
    ]


async def test_rows_without_a_key_are_shown_one_side_at_a_time(case: Case) -> None:
    case.setup("CREATE TABLE t(v int); INSERT INTO t VALUES (1), (1)")
    done = await case.call("UPDATE t SET v = 2")
    rows = await case.shown(done.undo)
    assert [(r["key"], r["before"], r["after"]) for r in rows] == [
        (None, {"v": "1"}, None),
        (None, {"v": "1"}, None),
        (None, None, {"v": "2"}),
        (None, None, {"v": "2"}),
    ]


async def test_pages_are_parts_of_the_whole(case: Case) -> None:
    case.setup(
        "CREATE TABLE t(id int PRIMARY KEY, v text); CREATE TABLE u(id int PRIMARY KEY, v text);"
        "INSERT INTO t SELECT i, repeat('x', 9000) FROM generate_series(1, 40) i;"
        "INSERT INTO u SELECT i, 'u' FROM generate_series(1, 5) i"
    )
    done = await case.call("DELETE FROM t WHERE id <= 20",
                           "INSERT INTO t SELECT i, 'n' FROM generate_series(41, 60) i",
                           "UPDATE t SET v = 'y' WHERE id BETWEEN 21 AND 40",
                           "DELETE FROM u")  # fmt: skip
    whole = await case.shown(done.undo)
    assert len(whole) == 65
    parts: list[object] = []
    for offset in range(0, 70, 7):
        async with case.peers.session() as session:
            images, pieces = decode(done.undo), case.images.read(done.undo)
            parts += await page(session, images, pieces, offset, 7)
    assert parts == whole


async def test_values_are_the_servers_own_text(case: Case) -> None:
    texts = ["", "\\N", "a\tb\nc\rd\be\ff\vg\\h", "€😀", "'quoted'"]
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v text, at timestamptz, a int[], r regclass)")
    for number, text in enumerate(texts):
        case.admin.execute(
            "INSERT INTO t VALUES (%s, %s, '0044-03-15 BC', '[2:3]={1,NULL}', 't')", (number, text)
        )
    done = await case.call("DELETE FROM t")
    rows = await case.shown(done.undo)
    assert [r["before"]["v"] for r in rows] == texts
    assert rows[0]["before"]["at"] == "0044-03-15 00:00:00+00 BC"
    assert rows[0]["before"]["a"] == "[2:3]={1,NULL}"
    assert rows[0]["before"]["r"] == "public.t"


async def test_a_type_that_is_no_more_is_shown_in_hexadecimal(case: Case) -> None:
    case.setup("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t(id int PRIMARY KEY, m mood);"
               "INSERT INTO t VALUES (1, 'sad')")  # fmt: skip
    done = await case.call("DELETE FROM t")
    case.admin.execute("DROP TABLE t; DROP TYPE mood")
    (row,) = await case.shown(done.undo)
    assert row["before"]["m"] == "\\x" + b"sad".hex()


@pytest.mark.parametrize("size", [-1, 1])
async def test_what_does_not_fit_the_manifest_is_damaged(case: Case, size: int) -> None:
    case.setup(_T + "(1, 'a', 1.10), (2, NULL, NULL)")
    done = await case.call("DELETE FROM t")
    (image,) = decode(done.undo)
    wrong = replace(image, before=replace(image.before, size=image.before.size + size))
    async with case.peers.session() as session:
        with pytest.raises(ImageDamaged):
            await page(session, (wrong,), case.images.read(done.undo), 0, 10)
