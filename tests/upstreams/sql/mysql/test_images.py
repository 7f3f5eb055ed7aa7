from __future__ import annotations

import dataclasses

import pytest

from gateway.errors import ImageDamaged
from gateway.model import Reversibility, RowCounts, Undo
from gateway.upstreams.sql.mysql.catalog import Column, Table
from gateway.upstreams.sql.mysql.images import (
    KIND,
    Change,
    RowTooLong,
    TableImage,
    manifest,
    pack,
    paired,
    unpack,
)


def column(name: str, type_: str = "int") -> Column:
    return Column(name=name, type=type_, charset=None, generated=False, counter=False)


def table(*key: str) -> Table:
    columns = (column("id"), column("v", "blob"))
    return Table(schema="d", name="t", columns=columns, key=key, fingerprint="f")


IMAGE = TableImage(
    table=table("id"),
    changes=(
        Change((b"1", None), (b"1", b"")),
        Change((b"2", b"x" * 100_000), None),
        Change(None, (b"3", b"\xff\x00")),
    ),
)


PACKET = 1 << 24


def undo(image: TableImage = IMAGE) -> Undo:
    return Undo(
        upstream="app",
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest=manifest([image.summary()]),
    )


def test_images_come_back_as_they_were_in_pieces_of_any_size() -> None:
    whole = b"".join(pack([IMAGE], PACKET))
    for size in (1, 7, 4096, len(whole)):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert unpack(undo(), pieces) == (IMAGE,)


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_images_that_are_cut_off_are_refused(cut: int) -> None:
    with pytest.raises(ImageDamaged):
        unpack(undo(), [b"".join(pack([IMAGE], PACKET))[:cut]])


def test_images_with_more_than_the_manifest_says_are_refused() -> None:
    with pytest.raises(ImageDamaged, match="more"):
        unpack(undo(), [*pack([IMAGE], PACKET), b"x"])


def test_another_form_is_refused() -> None:
    with pytest.raises(ImageDamaged):
        unpack(dataclasses.replace(undo(), kind="sqlite"), pack([IMAGE], PACKET))
    with pytest.raises(ImageDamaged):
        unpack(
            dataclasses.replace(undo(), manifest={"format": "mariadb-rows-1"}),
            pack([IMAGE], PACKET),
        )


def test_rows_are_paired_by_key() -> None:
    found = paired(table("id"), [(b"1", b"a"), (b"2", b"b")], [(b"2", b"c"), (b"3", b"d")])
    assert found.summary().counts() == RowCounts(inserted=1, updated=1, deleted=1)


def test_without_a_key_each_side_stands_alone() -> None:
    found = paired(table(), [(b"1", b"a")], [(b"1", b"b")])
    assert len(found.changes) == 2
    assert found.summary().counts() == RowCounts(updated=1)


def test_a_row_that_no_statement_could_write_again_is_not_kept() -> None:
    assert list(pack([IMAGE], 210_000))
    with pytest.raises(RowTooLong, match="max_allowed_packet"):
        list(pack([IMAGE], 200_000))
