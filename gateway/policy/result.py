"""The strict reading of what an engine answered to ``data.gateway.decision``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.model import Allow, Decision, Deny, Hold, Json, Obligations

_MEMBERS = frozenset({"allow", "hold", "reasons", "obligations"})
_MOST_ROWS = 2**53
_LONGEST_TTL = 366 * 24 * 3600
_MOST_TEXTS = 1000


class _IllTyped(Exception):
    """The part of the answer that is not what the contract says."""


def unavailable(detail: str, revision: str = "") -> Deny:
    """The refusal for every failure to get a valid decision."""
    return Deny(
        reason="policy.unavailable",
        detail=f"Policy gave no valid decision, so the call was refused: {detail}.",
        revision=revision,
    )


def decision_from(result: object, revision: str) -> Decision:
    """The decision that ``result`` is: ``{"allow": bool, "hold": bool, "reasons": [str],
    "obligations": {...}}`` and nothing else. Anything missing, extra or ill-typed is a ``Deny``
    with ``policy.unavailable``; ``hold`` wins over ``allow``."""
    try:
        return _read(result, revision)
    except _IllTyped as bad:
        return unavailable(str(bad), revision)


def _read(result: object, revision: str) -> Decision:
    if not isinstance(result, Mapping):
        raise _IllTyped("the decision is undefined or not an object")
    if set(result) != _MEMBERS:
        raise _IllTyped("the decision has missing or unknown members")
    allow, hold = _flag(result["allow"], "allow"), _flag(result["hold"], "hold")
    reasons = _texts(result["reasons"], "reasons")
    obligations = _obligations(result["obligations"])
    if hold:
        return Hold(reasons=reasons, obligations=obligations, revision=revision)
    if allow:
        return Allow(reasons=reasons, obligations=obligations, revision=revision)
    said = "; ".join(reason.rstrip(".") for reason in reasons)
    return Deny(
        reason="policy.denied",
        detail=(f"Policy does not allow this: {said}. " if said else "Policy does not allow this. ")
        + "Ask a person if it has to be done; another way to write it meets the same rules.",
        reasons=reasons,
        revision=revision,
    )


def _obligations(value: object) -> Obligations:
    if not isinstance(value, Mapping):
        raise _IllTyped("obligations is not an object")
    unknown = [name for name in value if name not in _READERS]
    if unknown:
        # An obligation that nobody here can fulfil must not be dropped silently.
        raise _IllTyped("the decision has an unknown obligation")
    return Obligations(**{name: _READERS[name](member, name) for name, member in value.items()})


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _IllTyped(f"{name} is not true or false")
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST_TEXTS:
        raise _IllTyped(f"{name} is not a list")
    if not all(isinstance(member, str) for member in value):
        raise _IllTyped(f"{name} holds something that is not a text")
    return tuple(value)


def _rows(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_ROWS:
        raise _IllTyped(f"{name} is not a number of rows")
    return value


def _share(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise _IllTyped(f"{name} is not a share between 0 and 1")
    return float(value)


def _seconds(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LONGEST_TTL:
        raise _IllTyped(f"{name} is not a number of seconds")
    return value


_READERS: Mapping[str, Callable[[object, str], Json]] = {
    "max_rows": _rows,
    "max_share": _share,
    "rehearse": _flag,
    "irreversible": _flag,
    "inexact": _flag,
    "approvers": _texts,
    "approval_ttl": _seconds,
    "redact": _texts,
}
