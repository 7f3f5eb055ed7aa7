"""Parsing of policies for the tests of the load check."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.policy.compiled import _engine
from gateway.policy.folder import Files
from gateway.policy.syntax import Module, modules_of


def parsed(files: Files) -> tuple[Sequence[Module], str]:
    """The modules, and all their constants as one text. Raises ``PolicyInvalid``."""
    ast = _engine(files, (), {}).get_ast_as_json()
    return modules_of(ast), json.dumps(json.loads(ast), ensure_ascii=False)
