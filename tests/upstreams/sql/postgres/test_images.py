from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import ImageDamaged
from gateway.model import Reversibility, Undo
from gateway.upstreams.sql.postgres.images import (
    KIND,
    ImageColumn,
    Rows,
    TableImage,
    decode,
    encode,
    shown,
)
from tests.fixtures.postgres_case import Case

_IMAGE = TableImage(
    oid=7,
    schema="public",
    name="t",
    fingerprint="f",
    columns=(ImageColumn(name="id", type="integer"), ImageColumn(name="v", type="text")),
    key=("id",),
    before=Rows(count=2, data=b"1\ta\\tb\n2\t\\N\n"),
    after=Rows(count=2, data=b"2\t\\\\N\n3\t\n"),
    updated=1,
    spread=False,
    family=7,
)


def _undo(*images: TableImage) -> Undo:
    manifest, image = encode(images, xid="9")
    return Undo(
        upstream="app",
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest=manifest,
        image=image,
    )


def test_images_come_back_as_they_went() -> None:
    other = replace(_IMAGE, oid=8, name="u", key=(), before=Rows(), spread=True)
    assert decode(_undo(_IMAGE, other)) == (_IMAGE, other)


def test_images_are_shown_row_by_row_with_their_keys() -> None:
    assert list(shown(_IMAGE)) == [
        {
            "resource": "public.t",
            "key": {"id": "1"},
            "before": {"id": "1", "v": "a\tb"},
            "after": None,
        },
        {
            "resource": "public.t",
            "key": {"id": "2"},
            "before": {"id": "2", "v": None},
            "after": {"id": "2", "v": "\\N"},
        },
        {"resource": "public.t", "key": {"id": "3"}, "before": None, "after": {"id": "3", "v": ""}},
    ]


def test_rows_without_a_key_are_shown_side_by_side() -> None:
    rows = list(shown(replace(_IMAGE, key=())))
    assert [(r["key"], r["before"] is None, r["after"] is None) for r in rows] == [
        (None, False, True),
        (None, False, True),
        (None, True, False),
        (None, True, False),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda u: replace(u, image=u.image[:-1]),
        lambda u: replace(u, image=u.image.replace(b"\n", b" ")),
        lambda u: replace(u, kind="sqlite.rows"),
        lambda u: replace(u, manifest={**u.manifest, "format": "later"}),
        lambda u: replace(u, manifest={"format": u.manifest["format"], "tables": [{}]}),
        lambda u: replace(u, manifest={"format": u.manifest["format"]}),
    ],
)
def test_damaged_images_are_refused(damage: object) -> None:
    with pytest.raises(ImageDamaged):
        decode(damage(_undo(_IMAGE)))  # type: ignore[operator]


async def test_what_the_server_writes_is_read_for_people_as_it_was(case: Case) -> None:
    texts = ["", "\\N", "a\tb\nc\rd\be\ff\vg\\h", "€😀", "'quoted'"]
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v text)")
    for number, text in enumerate(texts):
        case.admin.execute("INSERT INTO t VALUES (%s, %s)", (number, text))
    done = await case.call("DELETE FROM t")
    (image,) = decode(done.undo)
    rows = sorted(shown(image), key=lambda r: r["key"]["id"])
    assert [r["before"]["v"] for r in rows] == texts
