"""Every reason the gateway gives, and the exceptions that carry one.

A refusal is a value (``model.Deny``, ``model.Hold``); an exception means that the input could not
be read or that the gateway itself failed::

    HoldfastError
    ├── Malformed            bytes that are not a valid request
    ├── Unauthenticated      no or wrong credentials
    ├── NotAdmin             valid credentials without the admin right
    ├── NotFound             an id, tool or source that does not exist
    ├── TooLarge, Deadline   the request is over its bounds
    ├── UnsupportedMedia     a body of a kind that cannot be judged
    ├── StoreUnavailable     our memory cannot be read or written
    │   └── AuditUnavailable     the move could not be recorded
    ├── Overloaded           too many calls at once
    │   └── TooManyStreams       too many event streams of one agent
    ├── BadHost, BadOrigin   a web page that calls here without leave
    ├── PreconditionFailed   the record changed since it was read
    ├── PolicyInvalid        a policy edit that was refused, with its faults
    ├── SnapshotFailed       images could not be made durable
    ├── ImageDamaged         images on disk are not those that were recorded
    ├── UpstreamError        the target failed; ``effect`` says what is known
    └── ConfigInvalid        start-up only, exit code 2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable reason code: its HTTP status, a title for people, and whether the same call may
    be sent again unchanged."""

    code: str
    status: int
    title: str
    retryable: bool = False


REASONS: dict[str, Reason] = {
    reason.code: reason
    for reason in (
        Reason("unauthenticated", 401, "No valid token"),
        Reason("not_admin", 403, "The admin token is needed here"),
        Reason("unknown_tool", 404, "No such tool, source or record"),
        Reason("malformed", 400, "The request cannot be read"),
        Reason("sql.unparsable", 400, "The SQL cannot be parsed"),
        Reason("sql.unsupported", 400, "This kind of statement is not accepted"),
        Reason("action.unsupported", 403, "The action has effects that cannot be judged"),
        Reason("policy.denied", 403, "Policy does not allow this"),
        Reason("policy.unavailable", 503, "Policy gave no valid answer", retryable=True),
        Reason("policy.invalid", 422, "The policy edit was refused"),
        Reason("frozen", 423, "A freeze stops this", retryable=True),
        Reason("too_large", 413, "The request is too large"),
        Reason("deadline", 408, "The request took too long to arrive", retryable=True),
        Reason("media.unsupported", 415, "The body is of a kind that is not accepted"),
        Reason("limit.rows", 403, "More rows than allowed would change"),
        Reason("limit.budget", 429, "Too many rows changed in a short time", retryable=True),
        Reason("limit.rate", 429, "Too many calls in a short time", retryable=True),
        Reason("repetition", 429, "The same call fails again and again"),
        Reason("approval.required", 202, "A person has to approve this call"),
        Reason("approval.rejected", 403, "A person rejected this call"),
        Reason("approval.expired", 403, "The approval ran out before it was used"),
        Reason("undo.unavailable", 403, "This cannot be undone exactly"),
        Reason("undo.inexact", 403, "The way back was tried and is not exact"),
        Reason("snapshot.failed", 503, "The before-images could not be stored", retryable=True),
        Reason("idempotency.mismatch", 422, "The key was used for another call"),
        Reason("idempotency.in_progress", 409, "The call with this key is running", retryable=True),
        Reason("idempotency.unknown", 409, "The call with this key has an unknown outcome"),
        Reason("idempotency.not_kept", 409, "The call ran; its answer was not kept"),
        Reason("upstream.failed", 502, "The target refused or failed"),
        Reason("upstream.timeout", 504, "The target took too long", retryable=True),
        Reason("upstream.unreachable", 502, "The target cannot be reached", retryable=True),
        Reason("outcome.unknown", 504, "It is not known whether the effect happened"),
        Reason("store.unavailable", 503, "The gateway's store is unavailable", retryable=True),
        Reason("audit.unavailable", 503, "The audit log cannot be written", retryable=True),
        Reason("overloaded", 503, "Too many calls are waiting", retryable=True),
        Reason("revert.conflict", 409, "Others changed what this would restore"),
        Reason("revert.schema_changed", 409, "The schema changed since the call"),
        Reason("revert.not_revertible", 409, "There is nothing here to revert"),
        Reason("precondition.failed", 412, "The record changed since it was read"),
        Reason("cancelled", 409, "The call was cancelled before it had an effect"),
        Reason("interrupted", 503, "The gateway stopped before the effect", retryable=True),
        Reason("internal", 500, "The gateway failed"),
        Reason("tool.unapproved", 403, "The tool is not the one that was approved"),
        Reason("limit.streams", 429, "Too many event streams are open", retryable=True),
        Reason("host.refused", 421, "The gateway is not called by this name"),
        Reason("origin.refused", 403, "Pages of this origin may not call here"),
        Reason("config.invalid", 500, "The configuration is not valid"),
    )
}


class HoldfastError(Exception):
    """Base of all: ``reason`` is a key of ``REASONS``; ``detail`` is for the reader."""

    reason = "internal"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: Mapping[str, Any] = extra


class Malformed(HoldfastError):
    reason = "malformed"


class Unauthenticated(HoldfastError):
    reason = "unauthenticated"


class NotAdmin(HoldfastError):
    reason = "not_admin"


class NotFound(HoldfastError):
    reason = "unknown_tool"


class TooLarge(HoldfastError):
    reason = "too_large"


class Deadline(HoldfastError):
    reason = "deadline"


class StoreUnavailable(HoldfastError):
    reason = "store.unavailable"


class AuditUnavailable(StoreUnavailable):
    reason = "audit.unavailable"


class Overloaded(HoldfastError):
    reason = "overloaded"


class TooManyStreams(Overloaded):
    reason = "limit.streams"


class BadHost(HoldfastError):
    reason = "host.refused"


class BadOrigin(HoldfastError):
    reason = "origin.refused"


class PreconditionFailed(HoldfastError):
    reason = "precondition.failed"


class PolicyInvalid(HoldfastError):
    """``extra["faults"]``: list of ``{"file", "line", "message"}``."""

    reason = "policy.invalid"


class SnapshotFailed(HoldfastError):
    reason = "snapshot.failed"


class ImageDamaged(HoldfastError):
    reason = "revert.not_revertible"


class UnsupportedMedia(HoldfastError):
    reason = "media.unsupported"


class UpstreamError(HoldfastError):
    """The target failed. ``proves_no_effect``: the error itself shows that nothing was changed.
    ``blames_target``: it tells of the target's health, not of this one call."""

    def __init__(
        self,
        detail: str,
        *,
        reason: str = "upstream.failed",
        proves_no_effect: bool = True,
        blames_target: bool = True,
        **extra: Any,
    ) -> None:
        super().__init__(detail, **extra)
        self.reason = reason
        self.proves_no_effect = proves_no_effect
        self.blames_target = blames_target


class ConfigInvalid(HoldfastError):
    """``extra["faults"]``: list of ``{"file", "line", "message"}``."""

    reason = "config.invalid"
