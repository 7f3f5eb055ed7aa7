"""Parameters of a call, bound to its statements: a list for ``?`` and ``?NNN`` (several statements
take their share one after the other), an object for ``:name``, ``@name`` and ``$name``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gateway.model import Deny, Json
from gateway.upstreams.sql.sqlite.facts import Bindings, Value

Names = tuple[str | None, ...]


def bind(names: Sequence[Names], params: Json) -> tuple[Bindings, ...] | Deny:
    """``names``: of each statement, its parameters' names without the leading character, ``None``
    for ``?``. The bindings of each statement, or ``malformed``."""
    if params is None:
        params = []
    if isinstance(params, Mapping):
        return _named(names, params)
    if isinstance(params, list | tuple):
        return _positional(names, params)
    return _malformed("Parameters are a list or an object.")


def _named(names: Sequence[Names], params: Mapping[str, Json]) -> tuple[Bindings, ...] | Deny:
    values: dict[str, Value] = {}
    for key, given in params.items():
        value = _value(given)
        if isinstance(value, Deny):
            return value
        values[str(key)] = value
    wanted = {name for each in names for name in each}
    if not wanted and not values:
        return tuple(() for _ in names)
    if any(name is None or name.isdigit() for name in wanted):
        return _malformed("Parameters written ? need a list, not an object.")
    if wanted != set(values):
        odd = sorted(str(n) for n in wanted ^ set(values))
        return _malformed(f"Parameters are missing or not used: {', '.join(odd)}.")
    return tuple({str(n): values[str(n)] for n in each} for each in names)


def _positional(names: Sequence[Names], params: Sequence[Json]) -> tuple[Bindings, ...] | Deny:
    if any(name is not None and not name.isdigit() for each in names for name in each):
        return _malformed("Named parameters need an object, not a list.")
    needed = sum(len(each) for each in names)
    if needed != len(params):
        return _malformed(f"The statement takes {needed} parameters, {len(params)} were given.")
    bound: list[Bindings] = []
    at = 0
    for each in names:
        share: list[Value] = []
        for given in params[at : at + len(each)]:
            value = _value(given)
            if isinstance(value, Deny):
                return value
            share.append(value)
        bound.append(tuple(share))
        at += len(each)
    return tuple(bound)


def _value(given: Json) -> Value | Deny:
    if isinstance(given, bool):
        return int(given)
    if isinstance(given, int):
        if not -(2**63) <= given < 2**63:
            return _malformed("An integer parameter has more than 64 bits.")
        return given
    if isinstance(given, float):
        return given if math.isfinite(given) else _malformed("A parameter is not a finite number.")
    if isinstance(given, str):
        try:
            given.encode("utf-8")
        except UnicodeEncodeError:
            return _malformed("A text parameter holds a lone surrogate.")
        return given
    if given is None:
        return None
    return _malformed("A parameter is null, a boolean, a number or a string.")


def _malformed(detail: str) -> Deny:
    return Deny(reason="malformed", detail=detail)
