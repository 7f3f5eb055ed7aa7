from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.surfaces.multipart import PartReader, boundary_of

FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n'
FILE = (
    b'Content-Disposition: form-data; name="f"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
)


def body(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_the_parts_are_told() -> None:
    reader = PartReader(b"b")
    reader.feed(body(FIELD + b"12", FILE + b"\x89PNG\r\n--", FIELD))
    assert reader.end() == [
        {"name": "a", "filename": None, "type": None, "size": 2},
        {"name": "f", "filename": "x.png", "type": "image/png", "size": 8},
        {"name": "a", "filename": None, "type": None, "size": 0},
    ]


@given(st.binary(max_size=60), st.data())
def test_however_it_is_cut_the_parts_are_the_same(content: bytes, data: st.DataObject) -> None:
    if b"--b" in content:
        return
    sent = body(FIELD + content, FILE + content)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=9)))
    reader = PartReader(b"b")
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        reader.feed(sent[start:end])
    assert [part["size"] for part in reader.end()] == [len(content)] * 2


REFUSED = {
    "a beginning": b"preamble\r\n" + body(FIELD),
    "no end": b"--b\r\n" + FIELD + b"1",
    "an epilogue": body(FIELD) + b"more",
    "a second form": body(FIELD) + body(FIELD),
    "a longer boundary": b"--b\r\n" + FIELD + b"1\r\n--bc\r\n" + FIELD + b"2\r\n--b--\r\n",
    "a boundary behind the head": b"--b\r\n" + FIELD + b"--b--\r\n",
    "no name": body(b"Content-Disposition: form-data\r\n\r\n1"),
    "two names": body(b'Content-Disposition: form-data; name="a"; name="b"\r\n\r\n1'),
    "two filenames": body(b'Content-Disposition: form-data; name="a"; filename="a"; filename="b"'
                          b"\r\n\r\n1"),
    "a filename twice": body(b'Content-Disposition: form-data; name="a"; filename*="b"\r\n\r\n1'),
    "a bare name": body(b"Content-Disposition: form-data; name=a\r\n\r\n1"),
    "an escaped quote": body(b'Content-Disposition: form-data; name="a\\"b"\r\n\r\n1'),
    "another disposition": body(b'Content-Disposition: attachment; name="a"\r\n\r\n1'),
    "no disposition": body(b"Content-Type: text/plain\r\n\r\n1"),
    "two dispositions": body(FIELD[:-2] + FIELD + b"1"),
    "a transfer encoding": body(FIELD[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\n1"),
    "a folded header": body(b'Content-Disposition: form-data;\r\n name="a"\r\n\r\n1'),
    "no UTF-8": body(b'Content-Disposition: form-data; name="\xff"\r\n\r\n1'),
    "a large head": body(b"X" * 9000),
    "too many parts": body(*[FIELD] * 300),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_readers_could_read_differently_is_refused(what: str) -> None:
    def read() -> None:
        reader = PartReader(b"b")
        reader.feed(REFUSED[what])
        reader.end()

    with pytest.raises(Malformed):
        read()


@pytest.mark.parametrize(
    "given", [{}, {"boundary": ""}, {"boundary": "a b"}, {"boundary": "b", "x": "y"}]
)
def test_a_boundary_is_one_plain_word(given: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        boundary_of(given)
    assert boundary_of({"boundary": "b"}) == b"b"
