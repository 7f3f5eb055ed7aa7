"""The blast radius: what was measured inside the transaction against what is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Deny, Measured, Obligations


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The configured bounds of one call; ``max_share`` is a part of one table, 0..1."""

    max_rows: int
    max_share: float


def tightened(limits: Limits, obligations: Obligations) -> Limits:
    """The stricter of both, bound by bound: policy can only tighten the configuration."""
    rows, share = obligations.max_rows, obligations.max_share
    return Limits(
        max_rows=limits.max_rows if rows is None else min(limits.max_rows, rows),
        max_share=limits.max_share if share is None else min(limits.max_share, share),
    )


def check_extent(measured: Measured, limits: Limits) -> Deny | None:
    """``limit.rows`` with the counts when ``measured`` is over ``limits``."""
    over_rows = measured.rows > limits.max_rows
    over_share = measured.share > limits.max_share
    if not over_rows and not over_share:
        return None
    what = (
        f"would change {measured.rows} rows; at most {limits.max_rows} are allowed in one call"
        if over_rows
        else f"would change {measured.share:.0%} of a table; at most "
        f"{limits.max_share:.0%} is allowed in one call"
    )
    return Deny(
        reason="limit.rows",
        detail=f"The call {what}. It was rolled back and nothing changed. Ask a person if this "
        "much has to change.",
        extra={
            "measured": measured.as_json(),
            "limits": {"max_rows": limits.max_rows, "max_share": limits.max_share},
        },
    )
