"""The JSON Schema for editors: ``python -m gateway.config.published > docs/config.schema.json``."""

from __future__ import annotations

import json
import sys
from typing import Any

from gateway.config.settings import Config

_VARIABLE = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"}


def schema() -> str:
    """The text of ``docs/config.schema.json``."""
    described = _with_variables(Config.model_json_schema())
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}
    return json.dumps(described, indent=2, sort_keys=True) + "\n"


def _with_variables(part: Any) -> Any:
    """Numbers and booleans may also be written as ``${VAR}``."""
    if isinstance(part, list):
        return [_with_variables(item) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {key: _with_variables(value) for key, value in part.items()}
    if part.get("type") not in ("integer", "number", "boolean"):
        return changed
    kept = {k: changed.pop(k) for k in ("default", "description", "title") if k in changed}
    return {"anyOf": [changed, _VARIABLE], **kept}


if __name__ == "__main__":
    sys.stdout.write(schema())
