from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.errors import ImageDamaged
from gateway.model import OnConflict, Reversibility, Spooled, Undo
from gateway.upstreams.sql.postgres.images import (
    KIND,
    TEXT,
    ImageColumn,
    Rows,
    TableImage,
    decode,
    encode,
)
from tests.fixtures.postgres_case import Case

_IMAGE = TableImage(
    oid=7,
    schema="public",
    name="t",
    fingerprint="f",
    columns=(
        ImageColumn(name="id", type="integer", oid=23),
        ImageColumn(name="v", type="text", oid=25),
    ),
    key=("id",),
    before=Rows(count=2, offset=0, size=30),
    after=Rows(count=2, offset=30, size=20),
    updated=1,
    spread=False,
    family=7,
)


def _undo(*images: TableImage) -> Undo:
    return Undo(
        upstream="app",
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest=encode(images, xid="9"),
        image=bytes(60),
    )


def test_a_manifest_comes_back_as_it_went() -> None:
    other = replace(
        _IMAGE,
        oid=8,
        name="u",
        key=(),
        before=Rows(),
        after=Rows(count=1, offset=50, size=10),
        spread=True,
        coding=TEXT,
    )
    undo = _undo(_IMAGE, other)
    assert decode(undo) == (_IMAGE, other)
    spooled = replace(undo, image=b"", spooled=Spooled(size=60, sha256="", inline=b"x"))
    assert decode(spooled) == (_IMAGE, other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda u: replace(u, image=u.image[:49]),
        lambda u: replace(u, image=b"", spooled=Spooled(size=49, sha256="", inline=b"x")),
        lambda u: replace(u, kind="sqlite.rows"),
        lambda u: replace(u, manifest={**u.manifest, "format": "later"}),
        lambda u: replace(u, manifest={"format": u.manifest["format"], "tables": [{}]}),
        lambda u: replace(u, manifest={"format": u.manifest["format"]}),
        lambda u: _with(u, coding="spoken"),
        lambda u: _with(u, after={"rows": 2, "offset": 10, "bytes": 20}),
        lambda u: _with(u, after={"rows": 2, "offset": 30, "bytes": 0}),
    ],
)
def test_damaged_manifests_are_refused(damage: Callable[[Undo], Undo]) -> None:
    with pytest.raises(ImageDamaged):
        decode(damage(_undo(_IMAGE)))


def _with(undo: Undo, **changes: object) -> Undo:
    (entry,) = undo.manifest["tables"]
    return replace(undo, manifest={**undo.manifest, "tables": [{**entry, **changes}]})


async def test_images_of_the_first_format_are_still_restored(case: Case) -> None:
    """Text by COPY, with object ids where a name would depend on the search path."""
    case.setup("CREATE TABLE t(id int PRIMARY KEY, v text, r regclass)")
    case.admin.execute(r"INSERT INTO t VALUES (1, E'a\tb\\N', 't'), (2, NULL, NULL)")
    before = case.dump()
    done = await case.call("UPDATE t SET v = 'x', r = NULL WHERE id = 1")
    (entry,) = done.undo.manifest["tables"]
    (oid,) = case.admin.execute("SELECT 't'::regclass::oid").fetchone() or ()
    sides = (b"1\ta\\tb\\\\N\t%d\n" % oid, b"1\tx\t\\N\n")
    del entry["coding"]
    for column in entry["columns"]:
        del column["oid"]
    entry["before"] = {"rows": 1, "offset": 0, "bytes": len(sides[0])}
    entry["after"] = {"rows": 1, "offset": len(sides[0]), "bytes": len(sides[1])}
    manifest = {**done.undo.manifest, "format": "postgres-copy-text-1", "tables": [entry]}
    old = replace(done.undo, manifest=manifest, image=b"".join(sides))
    (line,) = await case.shown(old)
    assert line["before"] == {"id": "1", "v": "a\tb\\N", "r": str(oid)}
    reverted = await case.revert(old, mode=OnConflict.ABORT)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
