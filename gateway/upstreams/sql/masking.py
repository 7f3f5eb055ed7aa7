"""Results without the columns that policy does not let an agent see.

A value is shown only if it is known to come straight from a column that is not covered. What is
computed, or goes through a view or a set operation, is hidden as soon as the statement could have
read a covered column: a name in a result proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import UpstreamError
from gateway.model import REDACTED, Json, Redaction

Origin = tuple[str, str]  # schema.table, column
TYPE = "redacted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """``exposed``: whether the call could read a covered column."""

    redaction: Redaction = field(default_factory=Redaction)
    exposed: bool = False

    def result(self, result: dict[str, Json], origins: Sequence[Origin | None]) -> dict[str, Json]:
        """``result`` of one statement whose columns come from ``origins``."""
        hidden = [
            self.exposed if origin is None else self.redaction.covers(origin[0], origin[1])
            for origin in origins
        ]
        if not any(hidden):
            return result
        columns = [
            {**column, "type": TYPE} if hide else column
            for column, hide in zip(result["columns"], hidden, strict=True)
        ]
        rows = [
            [REDACTED if hide else value for value, hide in zip(row, hidden, strict=True)]
            for row in result["rows"]
        ]
        return {**result, "columns": columns, "rows": rows}

    def error(self, error: UpstreamError) -> UpstreamError:
        """``error`` without the database's words, which can quote the values of columns."""
        if not self.exposed:
            return error
        state = error.extra.get("sqlstate")
        code = f" (SQLSTATE {state})" if state else ""
        return UpstreamError(
            f"The database refused this{code}. What it says is withheld, as it could quote "
            "columns that policy does not show.",
            reason=error.reason,
            proves_no_effect=error.proves_no_effect,
            **({"sqlstate": state} if state else {}),
        )
