"""Row images come back from their bytes as they went in, or not at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ImageDamaged
from gateway.upstreams.sql.sqlite.catalog import Shape
from gateway.upstreams.sql.sqlite.cells import RawText, Row, same
from gateway.upstreams.sql.sqlite.images import Change, TableImage, manifest_of, pack, unpack

cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.binary().map(RawText),
)
rows = st.one_of(st.none(), st.tuples(cells, cells))
changes = st.builds(Change, st.tuples(st.integers(-(2**63), 2**63 - 1)), rows, rows)
SHAPE = Shape(
    name="t",
    columns=("a", "b"),
    key=(),
    rowid="rowid",
    rowid_column=None,
    without_rowid=False,
    generated=("g",),
    fingerprint="f",
)


def whole(row: Row | None) -> object:
    return row and [struct.pack("<d", c) if isinstance(c, float) else (type(c), c) for c in row]


@given(st.lists(st.lists(changes), max_size=3))
def test_what_is_packed_is_unpacked(tables: list[list[Change]]) -> None:
    images = [TableImage(shape=SHAPE, changes=tuple(each)) for each in tables]
    packed = pack(images, max_bytes=1 << 30)
    assert packed is not None
    back = unpack(manifest_of(images), packed)
    assert [i.shape for i in back] == [i.shape for i in images]
    for old, new in zip(images, back, strict=True):
        assert [(c.key, whole(c.before), whole(c.after)) for c in old.changes] == [
            (c.key, whole(c.before), whole(c.after)) for c in new.changes
        ]


def test_damage_is_noticed() -> None:
    image = TableImage(shape=SHAPE, changes=(Change((1,), ("x", b"y"), None),))
    packed = pack([image], max_bytes=1000)
    assert packed is not None
    told = manifest_of([image])
    for tables, data in [
        (told, packed[:-1]),
        (told, b""),
        (told, b"no image"),
        ([], packed),
        ([*told, *told], packed),
    ]:
        with pytest.raises(ImageDamaged):
            unpack(tables, data)


def test_more_than_the_limit_is_not_packed() -> None:
    image = TableImage(shape=SHAPE, changes=(Change((1,), ("x" * 100, None), None),))
    assert pack([image], max_bytes=50) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), (1.0,)),
        ((0.0,), (-0.0,)),
        (("a",), (b"a",)),
        ((None,), (0,)),
        (("1",), (1,)),
        (("a",), (RawText(b"a"),)),
        ((None,), None),
    ],
)
def test_rows_that_look_alike_are_not_the_same(one: Row, other: Row | None) -> None:
    assert same(one, one)
    assert not same(one, other)
