from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql.literals import parameter, quoted, text_literal
from tests.fixtures.mariadb_case import Case


def test_names_are_quoted_whole() -> None:
    assert quoted("a`b", "c") == "`a``b`.`c`"


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, float("nan"), float("inf"), [1], {"a": 1}, "\ud800"]
)
def test_values_that_the_server_cannot_hold_are_refused(value: object) -> None:
    refusal = parameter(value)
    assert isinstance(refusal, Deny)
    assert refusal.reason == "malformed"


VALUES = [
    (None, None),
    (True, 1),
    (False, 0),
    (2**63 - 1, str(2**63 - 1)),
    (-(2**63), str(-(2**63))),
    (1.5, 1.5),
    (-1e300, -1e300),
    (0.1, 0.1),
    ("", ""),
    ("it's \\ \" ` \n ü 😀", "it's \\ \" ` \n ü 😀"),
    ("\0", "\0"),
]


async def test_values_arrive_as_they_were_given(case: Case) -> None:
    marks = ", ".join("?" for _ in VALUES)
    outcome = await case.read(f"SELECT {marks}", [given for given, _ in VALUES])
    assert outcome.result is not None
    assert outcome.result["rows"] == [[expected for _, expected in VALUES]]


async def test_a_literal_compares_by_the_collation_of_the_column(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (v VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_general_ci)",
        "INSERT INTO t VALUES ('É')",
    )
    same = text_literal("é".encode("latin1"), "latin1")
    assert len(case.run(f"SELECT * FROM t WHERE v = {same}")) == 1
