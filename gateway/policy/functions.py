"""The functions that policies may call, and those that are replaced so that they answer as OPA.

A function stands here only when the differential suite (``tests/policy``) found it equal to OPA
for every argument, or equal wherever it does not raise. Where the embedded engine answers
otherwise, a replacement in Python answers exactly or raises; a raise is a denial, never a wrong
answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.model import Json

# Name -> number of arguments.
ALLOWED: Mapping[str, int] = {
    "abs": 1,
    "array.concat": 2,
    "array.reverse": 1,
    "array.slice": 3,
    "concat": 2,
    "contains": 2,
    "count": 1,
    "endswith": 2,
    "intersection": 1,
    "is_array": 1,
    "is_boolean": 1,
    "is_null": 1,
    "is_number": 1,
    "is_object": 1,
    "is_set": 1,
    "is_string": 1,
    "lower": 1,
    "max": 1,
    "min": 1,
    "object.filter": 2,
    "object.get": 3,
    "object.keys": 1,
    "object.remove": 2,
    "object.union": 2,
    "regex.match": 2,
    "replace": 3,
    "sort": 1,
    "split": 2,
    "sprintf": 2,
    "startswith": 2,
    "strings.any_prefix_match": 2,
    "strings.any_suffix_match": 2,
    "substring": 3,
    "sum": 1,
    "time.clock": 1,
    "time.date": 1,
    "time.parse_rfc3339_ns": 1,
    "time.weekday": 1,
    "trim": 2,
    "trim_left": 2,
    "trim_prefix": 2,
    "trim_right": 2,
    "trim_space": 1,
    "trim_suffix": 2,
    "type_name": 1,
    "union": 1,
    "upper": 1,
}

# Those whose answer is always a number or a text, so that ordering it is safe.
SCALAR_RESULTS = frozenset(
    {
        "abs",
        "concat",
        "count",
        "lower",
        "max",
        "min",
        "replace",
        "sprintf",
        "substring",
        "sum",
        "time.parse_rfc3339_ns",
        "time.weekday",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "upper",
    }
)

_WHY: Mapping[str, str] = {
    "http.send": "policies do not reach out",
    "net.lookup_ip_addr": "policies do not reach out",
    "opa.runtime": "it would show the gateway's environment",
    "print": "a decision's reasons are its trace",
    "trace": "a decision's reasons are its trace",
    "time.now_ns": "use input.context.time, so that a decision can be replayed",
    "rand.intn": "a decision must come out the same when it is replayed",
    "uuid.rfc4122": "a decision must come out the same when it is replayed",
}
_EXACT = 2**53
_VERB = re.compile(r"%([sdv%])")
# Letters whose case the two Unicode tables in use may know differently lie above this.
_LAST_CASED = "\u1fff"


def refusal(name: str) -> str:
    """Why a call of ``name``, which is not in ``ALLOWED``, is refused."""
    why = _WHY.get(name, "it is unknown, or not proven to answer as OPA does")
    return f"function {name} is not accepted in policies: {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    name: str
    arity: int
    answer: Callable[..., Json]


def _scalars(values: Json) -> list[Json]:
    """``values`` as a list of only numbers or only texts; raises otherwise."""
    if not isinstance(values, list | set | tuple):
        raise TypeError("expects an array or a set")
    members = list(values)
    texts = all(isinstance(member, str) for member in members)
    if not texts and not all(_is_number(member) for member in members):
        raise TypeError("expects only numbers or only texts")
    return members


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sort(values: Json) -> Json:
    return sorted(_scalars(values))


def _max(values: Json) -> Json:
    return max(_not_empty(_scalars(values)))


def _min(values: Json) -> Json:
    return min(_not_empty(_scalars(values)))


def _not_empty(values: list[Json]) -> list[Json]:
    if not values:
        raise ValueError("expects at least one member")
    return values


def _sum(values: Json) -> Json:
    members = _scalars(values)
    if not all(isinstance(member, int) for member in members):
        raise TypeError("expects whole numbers")
    total = sum(members)
    if abs(total) > _EXACT or any(abs(member) > _EXACT for member in members):
        raise ValueError("the sum is too large")
    return total


def _sprintf(form: Json, values: Json) -> Json:
    if not isinstance(form, str) or not isinstance(values, list | tuple):
        raise TypeError("expects a format and an array")
    rest = list(values)
    text = _VERB.sub(lambda found: "%" if found[1] == "%" else _shown(found[1], rest), form)
    if rest:
        raise ValueError("more values than verbs")
    return text


def _shown(verb: str, rest: list[Json]) -> str:
    if not rest:
        raise ValueError("fewer values than verbs")
    value = rest.pop(0)
    if isinstance(value, str) and verb in "sv":
        return value
    if isinstance(value, bool) and verb == "v":
        return "true" if value else "false"
    if isinstance(value, int) and not isinstance(value, bool) and verb in "dv":
        return str(value)
    if isinstance(value, float) and verb == "v" and 1e-4 <= abs(value) < 1e15:
        return str(int(value)) if value.is_integer() else repr(value)
    raise TypeError(f"%{verb} does not fit its value; numbers take %d, texts %s")


def _substring(text: Json, start: Json, length: Json) -> Json:
    if not isinstance(text, str) or not all(type(n) is int for n in (start, length)) or start < 0:
        raise TypeError("expects a text, a start from 0 and a length, whole numbers")
    return text[start:] if length < 0 else text[start : start + length]


def _replace(text: Json, old: Json, new: Json) -> Json:
    if not all(isinstance(part, str) for part in (text, old, new)) or not old:
        raise TypeError("expects three texts, the second not empty")
    return text.replace(old, new)


def _lower(text: Json) -> Json:
    return _recased(text, str.lower)


def _upper(text: Json) -> Json:
    return _recased(text, str.upper)


def _recased(text: Json, change: Callable[[str], str]) -> str:
    if not isinstance(text, str):
        raise TypeError("expects a text")
    return change(text) if text.isascii() else "".join(_letter(c, change) for c in text)


def _letter(letter: str, change: Callable[[str], str]) -> str:
    # Letter by letter, as OPA does: no final sigma, no letter that becomes two.
    changed = change(letter)
    if len(changed) != 1 or (letter > _LAST_CASED and changed != letter):
        raise ValueError("holds a letter whose case is not certain")
    return changed


def _count(value: Json) -> Json:
    if not isinstance(value, str | list | tuple | set | frozenset | Mapping):
        raise TypeError("expects an array, object, set or text")
    return len(value)


REPLACED: tuple[Replacement, ...] = (
    Replacement(name="lower", arity=1, answer=_lower),
    Replacement(name="max", arity=1, answer=_max),
    Replacement(name="min", arity=1, answer=_min),
    Replacement(name="replace", arity=3, answer=_replace),
    Replacement(name="sort", arity=1, answer=_sort),
    Replacement(name="sprintf", arity=2, answer=_sprintf),
    Replacement(name="substring", arity=3, answer=_substring),
    Replacement(name="sum", arity=1, answer=_sum),
    Replacement(name="upper", arity=1, answer=_upper),
)
# The engine's own count is exact except for texts beyond the Basic Multilingual Plane, where it
# counts two. This one is exact there, but cannot be handed sets of objects; so it serves only
# where such a character is in sight.
COUNT_ASTRAL = Replacement(name="count", arity=1, answer=_count)
