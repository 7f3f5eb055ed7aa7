"""Results show a value only where it is known to come from a column that is not covered."""

from __future__ import annotations

from gateway.errors import UpstreamError
from gateway.model import REDACTED, Redaction
from gateway.upstreams.sql.masking import Mask

RESULT = {
    "verb": "select",
    "columns": [{"name": "a", "type": "text"}, {"name": "b", "type": "int"}],
    "rows": [["x", 1], [None, 2]],
    "affected": 0,
}
EMAIL = Redaction(patterns=("customers.email",))


def test_a_covered_column_is_hidden_with_its_type_and_its_nulls() -> None:
    mask = Mask(redaction=EMAIL, exposed=True)
    shown = mask.result(RESULT, [("main.customers", "email"), ("main.customers", "id")])
    assert shown["columns"] == [{"name": "a", "type": "redacted"}, {"name": "b", "type": "int"}]
    assert shown["rows"] == [[REDACTED, 1], [REDACTED, 2]]


def test_what_is_computed_is_hidden_once_a_covered_column_is_within_reach() -> None:
    origins = [None, ("main.customers", "id")]
    assert Mask(redaction=EMAIL, exposed=True).result(RESULT, origins)["rows"][0][0] == REDACTED
    assert Mask(redaction=EMAIL, exposed=False).result(RESULT, origins) == RESULT


def test_without_a_demand_nothing_changes() -> None:
    assert Mask().result(RESULT, [None, None]) is RESULT


def test_an_error_does_not_quote_what_is_hidden() -> None:
    error = UpstreamError(
        "PostgreSQL answered: canary", sqlstate="22P02", message="canary", server_detail="canary"
    )
    told = Mask(redaction=EMAIL, exposed=True).error(error)
    assert "canary" not in told.detail + repr(dict(told.extra))
    assert told.extra["sqlstate"] == "22P02"
    assert Mask(redaction=EMAIL, exposed=False).error(error) is error
