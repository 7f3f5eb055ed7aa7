from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import ImageDamaged
from gateway.model import Reversibility, ToolClass
from gateway.upstreams.remote.imaging import Image, Left

IMAGE = Image(
    plan="DELETE /items/{id}",
    resource="/items/7",
    tool_class=ToolClass.KEYED,
    request={"do": "delete", "id": "7"},
    before={"status": 200, "body": {"name": "Zoë \ud800", "n": 12345678901234567890}},
    read={"do": "get", "id": "7"},
    undo={"do": "put", "id": "7"},
    ignore=("body.etag",),
)


def test_what_is_kept_is_read_back_the_same() -> None:
    undo = IMAGE.as_undo("shelf", Reversibility.EXACT)
    assert Image.of(undo) == IMAGE
    left = Left(undo={"do": "x"}, after={"body": 1}, seen=True)
    assert Left.of(replace(undo, answer=left.as_json())) == left
    assert Left.of(undo) == Left()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "sqlite"},
        {"manifest": {"format": 99}},
        {"image": b"{"},
        {"image": b'{"strange": 1, "tool_class": "D"}'},
        {"image": b"{}"},
    ],
)
def test_what_is_not_ours_is_not_guessed_at(changes: dict[str, object]) -> None:
    undo = replace(IMAGE.as_undo("shelf", Reversibility.EXACT), **changes)  # type: ignore[arg-type]
    with pytest.raises(ImageDamaged):
        Image.of(undo)
