from __future__ import annotations

import re

import pytest

from gateway import errors
from gateway.errors import REASONS, HoldfastError, StoreUnavailable, UpstreamError

# What outside programs rely on: these codes keep these statuses.
CONTRACT = {
    "unauthenticated": 401,
    "not_admin": 403,
    "unknown_tool": 404,
    "malformed": 400,
    "sql.unparsable": 400,
    "sql.unsupported": 400,
    "action.unsupported": 403,
    "policy.denied": 403,
    "policy.unavailable": 503,
    "frozen": 423,
    "too_large": 413,
    "deadline": 408,
    "limit.rows": 403,
    "approval.required": 202,
    "approval.rejected": 403,
    "approval.expired": 403,
    "undo.unavailable": 403,
    "snapshot.failed": 503,
    "idempotency.mismatch": 422,
    "idempotency.in_progress": 409,
    "idempotency.unknown": 409,
    "upstream.failed": 502,
    "upstream.timeout": 504,
    "upstream.unreachable": 502,
    "outcome.unknown": 504,
    "store.unavailable": 503,
    "audit.unavailable": 503,
    "overloaded": 503,
    "revert.conflict": 409,
    "revert.schema_changed": 409,
    "revert.not_revertible": 409,
}

ERRORS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, HoldfastError)
]


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_a_reason_of_the_contract_keeps_its_status(code: str, status: int) -> None:
    assert REASONS[code].status == status


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_a_lower_case_code_with_an_http_status_and_a_title(code: str) -> None:
    reason = REASONS[code]

    assert reason.code == code
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)?", code)
    assert reason.status == 202 or 400 <= reason.status < 600
    assert reason.title[0].isupper()
    assert not reason.title.endswith(".")


@pytest.mark.parametrize("code", ["outcome.unknown", "idempotency.unknown", "policy.denied"])
def test_what_may_have_happened_or_was_judged_is_not_sent_again_unchanged(code: str) -> None:
    assert not REASONS[code].retryable


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_carries_a_known_reason(error: type[HoldfastError]) -> None:
    raised = error("What went wrong.", source="shop")

    assert raised.reason in REASONS
    assert raised.detail == str(raised) == "What went wrong."
    assert raised.extra["source"] == "shop"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_module_shows_every_error_in_its_tree(error: type[HoldfastError]) -> None:
    assert errors.__doc__ is not None
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__)


def test_a_store_failure_covers_an_audit_failure() -> None:
    assert issubclass(errors.AuditUnavailable, StoreUnavailable)


def test_an_upstream_error_tells_whether_it_proves_that_nothing_happened() -> None:
    timeout = UpstreamError(
        "No answer within 5 s.", reason="upstream.timeout", proves_no_effect=False
    )

    assert timeout.reason == "upstream.timeout"
    assert not timeout.proves_no_effect
    assert UpstreamError("refused").reason == "upstream.failed"
