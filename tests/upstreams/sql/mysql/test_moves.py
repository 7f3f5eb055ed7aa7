from __future__ import annotations

import pytest

from gateway.upstreams.sql.mysql.catalog import ForeignKey
from gateway.upstreams.sql.mysql.moves import Move, aside, from_json, marked

KEY = ForeignKey(
    name="k`", child=("d", "c"), columns=("p",), parent=("d", "p"), references=("id",),
    on_delete="CASCADE", on_update="RESTRICT",
)  # fmt: skip
DROP = Move(
    renames=((("d", "c"), aside("call_1")),), trace=aside("call_1"), present=True, drops=(KEY,)
)


def test_a_move_and_its_inverse() -> None:
    assert DROP.sql() == (
        "ALTER TABLE `d`.`c` DROP FOREIGN KEY `k```, RENAME TO `holdfast`.`q_call_1`"
    )
    back = DROP.inverse()
    assert back.sql() == (
        "ALTER TABLE `holdfast`.`q_call_1` ADD CONSTRAINT `k``` FOREIGN KEY (`p`) REFERENCES "
        "`d`.`p` (`id`) ON DELETE CASCADE ON UPDATE RESTRICT, RENAME TO `d`.`c`"
    )
    assert back.inverse() == DROP
    assert (DROP.receipt("x"), back.receipt("y")) == (
        "x|+holdfast|q_call_1",
        "y|-holdfast|q_call_1",
    )


def test_a_mark_moves_along() -> None:
    move = Move(renames=((("d", "a"), ("d", "b")),), trace=("d", "b"), present=True)
    assert marked(move, "call_1").sql() == (
        "RENAME TABLE `d`.`a` TO `d`.`b`, `holdfast`.`m_call_1` TO `holdfast`.`k_call_1`"
    )


def test_moves_are_kept_whole() -> None:
    for move in (DROP, DROP.inverse(empty=("d", "c"))):
        assert from_json(move.as_json()) == move
    with pytest.raises(KeyError):
        from_json({})
