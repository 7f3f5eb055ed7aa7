"""Refusals and failures as RFC 9457 problem documents."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from gateway.errors import REASONS, HoldfastError, Reason, UpstreamError
from gateway.model import Deny, EffectState, Json
from gateway.surfaces.answers import answer

MEDIA_TYPE = "application/problem+json"

_RETRY_S = {"frozen": 60, "idempotency.in_progress": 1, "overloaded": 1, "deadline": 1}
_RETRY_DEFAULT_S = 5
# Bodies that nobody reads to their end.
_ENDS = frozenset({"too_large", "deadline", "media.unsupported"})


def problem_document(deny: Deny, call: str | None, effect: EffectState) -> dict[str, Json]:
    """``retryable`` only where the same call may be sent again unchanged and nothing happened."""
    reason = reason_of(deny.reason)
    # A call that waits for a person under another id is the one to poll.
    waits = deny.reason == "approval.required" and "call" in deny.extra
    document = {
        **_plain(deny.extra),
        "type": f"urn:holdfast:problem:{deny.reason}",
        "title": reason.title,
        "status": reason.status,
        "detail": deny.detail,
        "reason": deny.reason,
        "call": deny.extra["call"] if waits else call,
        "effect": str(effect),
        "retryable": reason.retryable and effect is EffectState.NONE,
    }
    if deny.reasons:
        document["reasons"] = list(deny.reasons)
    return document


def problem(
    deny: Deny,
    *,
    call: str | None = None,
    effect: EffectState | None = None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for a refusal. ``status`` differs from the reason's own only where HTTP asks
    for it (405)."""
    document = problem_document(deny, call, effect or deny.effect)
    if status is not None:
        document["status"] = status
    extra = dict(headers or {})
    if document["retryable"]:
        extra["Retry-After"] = str(_RETRY_S.get(deny.reason, _RETRY_DEFAULT_S))
    if document["status"] == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="holdfast"'
    if document["call"] is not None:
        extra.setdefault("Holdfast-Call", document["call"])
    return answer(document, status=document["status"], headers=extra, media_type=MEDIA_TYPE)


def problem_of(error: HoldfastError, *, call: str | None = None, doubt: bool = False) -> Response:
    """The answer for an error of ours: nothing ran, except where an upstream cannot tell or the
    caller has a ``doubt``."""
    effect = EffectState.NONE
    if doubt or (isinstance(error, UpstreamError) and not error.proves_no_effect):
        effect = EffectState.UNKNOWN
    deny = Deny(reason=error.reason, detail=error.detail, extra=error.extra, effect=effect)
    headers = {"Connection": "close"} if error.reason in _ENDS else None
    return problem(deny, call=call, headers=headers)


def internal(*, call: str | None, effect: EffectState) -> Response:
    """The answer for what nobody foresaw; it tells nothing of the inside."""
    detail = "The gateway failed. The log has the cause under the id of the call."
    return problem(Deny(reason="internal", detail=detail), call=call, effect=effect)


def reason_of(code: str) -> Reason:
    return REASONS.get(code, REASONS["internal"])


def _plain(extra: Mapping[str, Json]) -> dict[str, Json]:
    # A refusal must reach the caller even if what was attached to it is no JSON.
    try:
        json.dumps(extra, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError):
        return {}
    return dict(extra)
