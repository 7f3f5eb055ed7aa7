from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.surfaces.admin.paging import DEFAULT, MOST, SCHEMA, page_of
from gateway.surfaces.arguments import Query


def test_a_page_is_as_large_as_asked_within_bounds() -> None:
    assert page_of(Query([], SCHEMA)).limit == DEFAULT
    asked = page_of(Query([("limit", str(MOST)), ("cursor", "c")], SCHEMA))
    assert (asked.limit, asked.cursor) == (MOST, "c")


@pytest.mark.parametrize("limit", ["0", str(MOST + 1), "all"])
def test_a_page_out_of_bounds_is_malformed(limit: str) -> None:
    with pytest.raises(Malformed):
        page_of(Query([("limit", limit)], SCHEMA))
