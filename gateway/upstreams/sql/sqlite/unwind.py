"""Takes calls back on one SQLite source: row images, newest call first, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from gateway.errors import ImageDamaged
from gateway.interfaces import Watch
from gateway.model import Conflict, OnConflict, Step, Undo
from gateway.upstreams.sql.sqlite.adoption import Orphans
from gateway.upstreams.sql.sqlite.images import FORMAT, TableImage, unpack
from gateway.upstreams.sql.sqlite.restore import Restored, restore, schema_change

_ACTION = "restore"


def loosen(db: apsw.Connection) -> None:
    """Outside a transaction: nothing follows from what is restored, and old rows come back even
    where a CHECK was ignored when they came."""
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    db.pragma("ignore_check_constraints", True)


def tighten(db: apsw.Connection, *, foreign_keys: bool) -> None:
    """Back to what agents' statements run under."""
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, int(foreign_keys))
    db.pragma("ignore_check_constraints", False)


class Tally:
    """What a watch is told of one revert; ``of`` names the call that is being taken back."""

    def __init__(self, watch: Watch | None, total: int) -> None:
        self._watch = watch
        self._total = total
        self._done = 0
        self._call = ""

    def of(self, call: str) -> Tally:
        self._call = call
        return self

    def rows(self, count: int) -> None:
        """So many more rows were put back. Rows tried again count once."""
        self._done = min(self._done + count, self._total)
        if self._watch is not None:
            self._watch.progress(self._done, self._total)

    def conflict(self, conflict: Conflict) -> None:
        if self._watch is not None:
            self._watch.conflict(self._call, conflict)


def rowwise(undo: Undo) -> bool:
    """Whether the call has row images, beside or instead of a kept journal."""
    return bool(undo.manifest.get("rowwise", not undo.manifest.get("journal")))


def take_back(
    db: apsw.Connection,
    undos: Sequence[tuple[str, Undo]],
    on_conflict: OnConflict,
    *,
    foreign_keys: bool,
    watch: Watch | None = None,
) -> tuple[Step, ...]:
    """One step per call. With ``abort``, a step that is not ``reverted`` leaves every row of every
    step alone."""
    db.execute("SAVEPOINT holdfast_unwind")
    tally = Tally(watch, sum(_size(undo) for _, undo in undos))
    steps = [_one(db, call, undo, on_conflict, foreign_keys, tally) for call, undo in undos]
    if on_conflict is OnConflict.ABORT and any(s.state != "reverted" for s in steps):
        db.execute("ROLLBACK TO holdfast_unwind")
        steps = [left(step) for step in steps]
    db.execute("RELEASE holdfast_unwind")
    return tuple(steps)


def _one(
    db: apsw.Connection,
    call: str,
    undo: Undo,
    on_conflict: OnConflict,
    foreign_keys: bool,
    tally: Tally,
) -> Step:
    images = _images(undo)
    if isinstance(images, str):
        return _failed(call, undo, "revert.not_revertible", images)
    changed = schema_change(db, images)
    if changed is not None:
        return _failed(call, undo, "revert.schema_changed", changed)
    known = Orphans.of(undo.manifest.get("orphans", ()))
    done = restore(
        db, images, on_conflict, foreign_keys=foreign_keys, known=known, told=tally.of(call)
    )
    return Step(
        call=call,
        upstream=undo.upstream,
        action=_ACTION,
        state=_state(done, on_conflict),
        restored=done.rows,
        conflicts=tuple(done.conflicts),
        more=done.found - len(done.conflicts),
        reason="revert.conflict" if done.conflicts else None,
        detail=_detail(done),
    )


def _size(undo: Undo) -> int:
    return sum(int(table["rows"]) for table in undo.manifest.get("tables", ()))


def _detail(done: Restored) -> str | None:
    told = []
    if done.merged:
        told.append(f"{done.merged} rows were merged with what others changed in them.")
    if done.found:
        told.append(f"{done.found} rows were changed by others.")
    return " ".join(told) or None


def _images(undo: Undo) -> list[TableImage] | str:
    if undo.kind != "sqlite" or undo.manifest.get("format") != FORMAT:
        return "It was captured in a form that this version does not read."
    if not rowwise(undo):
        return "It has no row images: it can only be taken back as a whole file."
    try:
        return unpack(undo.manifest["tables"], undo.image)
    except ImageDamaged as error:
        return error.detail


def _state(done: Restored, on_conflict: OnConflict) -> str:
    if not done.conflicts:
        return "reverted"
    if on_conflict is OnConflict.ABORT:
        return "conflict"
    if not done.left:
        return "reverted"
    return "partial" if done.rows else "conflict"


def left(step: Step) -> Step:
    if step.state in ("conflict", "failed"):
        return Step(
            call=step.call,
            upstream=step.upstream,
            action=step.action,
            state=step.state,
            conflicts=step.conflicts,
            more=step.more,
            reason=step.reason,
            detail=step.detail,
        )
    return Step(
        call=step.call,
        upstream=step.upstream,
        action=step.action,
        state="skipped",
        reason="revert.conflict",
        detail="Left alone: another step of this revert could not be done.",
    )


def _failed(call: str, undo: Undo, reason: str, detail: str) -> Step:
    return Step(
        call=call,
        upstream=undo.upstream,
        action=_ACTION,
        state="failed",
        reason=reason,
        detail=detail,
    )
