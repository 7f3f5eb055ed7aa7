"""One cell: the call, its way back, and the way back from that, told apart by whole dumps.

Knows no database: an ``Engine`` gives the upstream, runs the setup and dumps.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from gateway.errors import UpstreamError
from gateway.interfaces import Upstream
from gateway.model import (
    Call,
    Deny,
    OnConflict,
    Permit,
    Reversibility,
    Subject,
    Surface,
    Undo,
)
from tests.matrix.cases import EXACT, FAILS, REFUSED, Shape, Statement

Dump = Mapping[str, Any]

_REFUSALS = frozenset({"undo.unavailable", "sql.unsupported"})
_ids = itertools.count(1)


class Engine(Protocol):
    version: str  # its name in the tables

    @property
    def upstream(self) -> Upstream: ...

    def setup(self, sql: str) -> None:
        """An empty database with this in it."""
        ...

    def rows(self) -> Dump:
        """Every row of every table, exactly, by a reader that is none of ours."""
        ...

    def schema(self) -> Dump:
        """Everything that is no row, exactly; numbers drawn from sequences apart."""
        ...

    def numbers(self) -> Mapping[str, int]:
        """Sequences, which never go back."""
        ...

    def kept(self, undo: Undo) -> Undo:
        """With its images, which otherwise go with an attempt that asks for no permit."""
        ...

    def plain(self, sql: str, stdin: str | None) -> Mapping[str, Any]:
        """What the agent would see without a gateway: ``affected`` and ``rows`` of each
        statement, or ``error``. Rolled back. ``stdin``: what a COPY reads."""
        ...


async def shape_outcomes(engine: Engine, shape: Shape) -> dict[str, str]:
    """By statement: ``exact``, ``refused``, ``fails``, or a sentence about what is wrong."""
    engine.setup(shape.setup)
    schema = engine.schema()
    found: dict[str, str] = {}
    for statement in shape.statements:
        found[statement.name] = await _cell(engine, shape, statement)
        if found[statement.name] not in (EXACT, REFUSED, FAILS):
            engine.setup(shape.setup)
    if engine.schema() != schema:
        found["(schema)"] = "the schema is not what it was"
    return found


async def _cell(engine: Engine, shape: Shape, statement: Statement) -> str:
    before, numbers = engine.rows(), engine.numbers()
    plain = engine.plain(statement.text, statement.stdin)
    done = await _call(engine, asked(statement.text, statement.stdin))
    if isinstance(done, (Deny, UpstreamError)):
        if engine.rows() != before:
            return f"{done.reason}, and yet something changed"
        told = done.extra.get("sqlstate")
        if "error" in plain and done.reason == "sql.unparsable":
            return FAILS  # the database said so before it ran
        if "error" in plain:
            if plain["error"] != told and done.reason in _REFUSALS:
                return REFUSED
            return FAILS if plain["error"] == told else f"{plain['error']} became {done}"
        return REFUSED if told is None else f"the guarded call fails: {done}"
    undo, result = done
    if "error" in plain:
        return f"only the unguarded one fails: {plain['error']}"
    chance = "random()" in statement.text or "RAND()" in statement.text
    if not chance and not shape.drawn:
        difference = _seen(plain, result)
        if difference:
            return difference
    after = engine.rows()
    redo = await _revert(engine, undo)
    if isinstance(redo, str):
        return redo
    if engine.rows() != before:
        return "the rows are not what they were"
    if any(engine.numbers()[name] < number for name, number in numbers.items()):
        return "a sequence went backwards"
    again = await _revert(engine, redo)
    if isinstance(again, str):
        return f"redo: {again}"
    if engine.rows() != after:
        return "redo: the rows are not those after the call"
    last = await _revert(engine, again)
    if isinstance(last, str) or engine.rows() != before:
        return "undo of redo: the rows are not what they were"
    return EXACT


def _seen(plain: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """Whether the agent sees what it would have seen."""
    guarded = result.get("results", [result])
    for direct, answer in zip(plain["results"], guarded, strict=True):
        for part in ("affected", "rows"):
            if direct[part] != answer[part]:
                return f"{part} without the gateway {direct[part]}, with it {answer[part]}"
    return None


def asked(sql: str, stdin: str | None = None) -> Call:
    """Each with an id of its own: a target remembers the calls that it has seen."""
    return Call(
        id=f"call_{next(_ids)}",
        subject=Subject(id="agent", session="s"),
        surface=Surface.SQL,
        tool="app",
        request={"sql": sql} if stdin is None else {"sql": sql, "stdin": [stdin]},
        digest="d",
        received_at=datetime.now(UTC),
    )


async def _call(
    engine: Engine, call: Call
) -> tuple[Undo, Mapping[str, Any]] | Deny | UpstreamError:
    upstream = engine.upstream
    try:
        action = await upstream.parse(call)
        if isinstance(action, Deny):
            return action
        if action.reversibility is not Reversibility.EXACT:
            return Deny(reason="undo.unavailable", detail="known before it runs")
        async with upstream.attempt(call, action) as attempt:
            ran = await attempt.run()
            captured = await attempt.capture()
            if isinstance(captured, Deny):
                return captured
            outcome = await attempt.commit(Permit.issue(call.id, 1))
            assert outcome.refusal is None, outcome.refusal
            # What a change of the schema counts is known once it has happened.
            return engine.kept(captured.undo), outcome.result or ran.result
    except UpstreamError as error:
        return error


async def _revert(engine: Engine, undo: Undo) -> Undo | str:
    """The way back from the revert, or what stood against it."""
    call = asked("")
    async with engine.upstream.unwind(call, [("call_1", undo)], OnConflict.ABORT) as unwinding:
        (step,) = await unwinding.run()
        if step.state != "reverted":
            return f"the revert was {step.state}: {step.detail} {step.conflicts}"
        captured = await unwinding.capture()
        if isinstance(captured, Deny):
            return f"the revert cannot be reverted: {captured.detail}"
        outcome = await unwinding.commit(Permit.issue(call.id, 1))
        assert outcome.refusal is None, outcome.refusal
        return engine.kept(captured.undo)
