"""What taking calls back would do where some of them changed the schema. Each of those commits by
itself, so they are carried out one by one; this only looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.interfaces import Captured, Watch
from gateway.model import Deny, Json, Outcome, Permit, Step, Undo
from gateway.upstreams.sql.mysql import moves
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.defining import DefinitionUnwinding
from gateway.upstreams.sql.mysql.unwind import MariadbUnwinding

Named = tuple[str, Undo]
_LATER = "Newer calls changed the same table: it is looked at once they are taken back."


class MixedForesight:
    """``Unwinding`` that can be run and never captured. ``rows`` makes one of calls that changed
    rows, ``schema`` one of a call that changed the schema."""

    def __init__(
        self,
        source: str,
        undos: Sequence[Named],
        rows: Callable[[Sequence[Named]], MariadbUnwinding],
        schema: Callable[[Named], DefinitionUnwinding],
    ) -> None:
        self._source = source
        self._undos = undos
        self._rows = rows
        self._schema = schema
        self._watch: Watch | None = None

    def watch(self, watch: Watch) -> None:
        self._watch = watch

    async def run(self) -> tuple[Step, ...]:
        """Raises ``UpstreamError`` as the parts do."""
        steps: dict[str, Step] = {}
        plain: list[Named] = []
        moved: set[Name] = set()
        changed: set[Name] = set()
        for call, undo in self._undos:
            touched = tables(undo)
            if touched & (changed if undo.kind == moves.KIND else moved):
                steps[call] = Step(
                    call=call, upstream=self._source, action="restore", state="reverted",
                    detail=_LATER,
                )  # fmt: skip
            elif undo.kind != moves.KIND:
                plain.append((call, undo))
            else:
                [steps[call]] = await self._schema((call, undo)).run()
            if undo.kind == moves.KIND:
                moved |= touched
            changed |= touched
        if plain:
            unwinding = self._rows(plain)
            if self._watch is not None:
                unwinding.watch(self._watch)
            try:
                steps |= {step.call: step for step in await unwinding.run()}
            finally:
                unwinding.close()
        return tuple(steps[call] for call, _ in self._undos)

    async def capture(self) -> Captured | Deny:
        raise TypeError("calls that changed the schema are taken back one by one")

    async def commit(self, permit: Permit) -> Outcome:  # noqa: ARG002 - as the protocol says
        raise TypeError("calls that changed the schema are taken back one by one")


def tables(undo: Undo) -> set[Name]:
    """Every table that an undo is about; none where its manifest cannot be read."""
    told = undo.manifest
    if undo.kind != moves.KIND:
        listed = told.get("tables") or ()
        return {(str(t["schema"]), str(t["name"])) for t in listed if isinstance(t, Mapping)}
    back = told.get("back")
    if not isinstance(back, Mapping):
        return set()
    pairs: list[Json] = [back["table"]] if "table" in back else []
    pairs += [name for pair in back.get("renames") or () for name in pair]
    return {(str(schema), str(name)) for schema, name in pairs}
