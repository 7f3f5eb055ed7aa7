"""Numbers that OPA and the embedded engine hold and add alike.

OPA counts in decimal big numbers, the engine in 64-bit integers and doubles. They agree on whole
numbers of 64 bits, and on literals short enough to be the same double.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.model import Json
from gateway.policy.input import COUNTED, COUNTERS
from gateway.policy.scope import Scope
from gateway.policy.syntax import Module, Path, dotted, node

_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_LARGEST = 2**63 - 1
_MOST_DIGITS = 15
# What the input gate guarantees, and what a collection in memory cannot exceed.
_INPUT: Mapping[Path, int] = {
    ("input", "context", "measured", "rows"): 2**53,
    **{
        ("input", "context", "counters", part, name): 2**53 for part in COUNTED for name in COUNTERS
    },
}
_CALLS = {"count": 2**32, "time.parse_rfc3339_ns": 2**62}


def is_plain(literal: str) -> bool:
    """Whether ``literal`` is written so that both engines read the same number."""
    if _PLAIN.fullmatch(literal) is None or re.search(r"\.0+$", literal):
        return False
    return len(literal.lstrip("-").replace(".", "").lstrip("0")) <= _MOST_DIGITS


def magnitude(value: Mapping[str, Json], scope: Scope, module: Module) -> int | None:
    """The largest that whole number ``value`` can get, either side of zero; ``None`` when it may
    not be whole, or may leave 64 bits."""
    kind, members = node(value)
    if kind == "Number":
        text = module.text(members["span"])
        return abs(int(text)) if re.fullmatch(r"-?\d{1,15}", text) else None
    if kind == "Var":
        return scope.whole(members["value"])
    if kind == "Call":
        return _CALLS.get(".".join(dotted(members["fcn"]) or ()))
    if kind in ("RefDot", "RefBrack"):
        return _INPUT.get(dotted(value) or ())
    if kind != "ArithExpr":
        return None
    left = magnitude(members["lhs"], scope, module)
    right = magnitude(members["rhs"], scope, module)
    if left is None or right is None:
        return None
    return _combined(members["op"], left, right, members["rhs"])


def _combined(op: str, left: int, right: int, divisor: Mapping[str, Json]) -> int | None:
    if op in ("Add", "Sub"):
        largest = left + right
    elif op == "Mul":
        largest = left * right
    elif op == "Mod" and node(divisor)[0] == "Number" and right > 0:
        largest = right
    else:
        return None
    return largest if largest <= _LARGEST else None
