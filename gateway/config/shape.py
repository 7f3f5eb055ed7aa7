"""What every section of the configuration is: frozen, strict, and without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


Misplaced = list[tuple[tuple[str | int, ...], str]]


def refuse(faults: Misplaced) -> None:
    """Faults that lie deeper than the validator that sees them; ``loading`` finds their lines."""
    if faults:
        raise PydanticCustomError("misplaced", "not consistent", {"faults": faults})
