"""Taking calls of a remote tool back: compare before, after and now, then send the undo.

There is no transaction, so what is carried out is one call at a time: each compensation is a call
of its own with its own permit, durable before it is sent. Planning may look at many: each older
call is compared with the state that the newer ones, taken back, would have left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.audit import canonical
from gateway.errors import ImageDamaged, UpstreamError
from gateway.interfaces import Captured
from gateway.lifecycle import State
from gateway.model import (
    Call,
    Conflict,
    Deny,
    EffectState,
    Json,
    OnConflict,
    Outcome,
    Permit,
    Reversibility,
    Step,
    ToolClass,
    Undo,
)
from gateway.upstreams.remote.attempt import Tool, key_of, unapplied
from gateway.upstreams.remote.imaging import Image, Left, Request
from gateway.upstreams.remote.plan import Retry
from gateway.upstreams.remote.sending import Payload, Sent
from gateway.upstreams.remote.views import View

ACTION = "compensate"
_AGAIN = Retry(attempts=3)
_WHY = {
    "changed": "Somebody changed this since the call.",
    "undone": "It stands as before the call: somebody has taken it back or restored it already.",
    "unverified": "It is not known what the call left, so changes by others cannot be told.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """What would be sent for one call, and what stands at the tool now."""

    image: Image
    undo: Request
    read: Request | None
    verify: Request | None
    now: View | None
    left: Left

    @property
    def redo(self) -> tuple[Request | None, bool, bool]:
        """What leads to the state that the call left once it is taken back, whether that may be
        sent twice, and whether it takes a key. Only where that state can be compared."""
        image = self.image
        if self.read is None:
            return None, False, False
        if image.redo_declared:
            return self.left.redo, image.redo_safe, False
        known = image.bare and image.read is not None
        again = (image.again or image.request) if known else None
        return again, image.safe, image.tool_class is ToolClass.KEYED


class RemoteUnwinding:
    """``Unwinding`` over recorded requests; it needs no declaration any more."""

    def __init__(
        self,
        tool: Tool,
        call: Call,
        undos: Sequence[tuple[str, Undo]],
        on_conflict: OnConflict,
    ) -> None:
        self._tool = tool
        self._call = call
        self._undos = undos
        self._on_conflict = on_conflict
        self._shown: dict[bytes, View] = {}
        self._ready: list[tuple[Step, Compensation]] = []
        self._image: Image | None = None
        self._captured_at: datetime | None = None

    async def run(self) -> tuple[Step, ...]:
        steps = [await self._one(call, undo) for call, undo in self._undos]
        stuck = any(step.state != "reverted" for step in steps)
        if stuck and self._on_conflict is OnConflict.ABORT:
            return tuple(_left_alone(step) for step in steps)
        return tuple(steps)

    async def _one(self, call: str, undo: Undo) -> Step:
        step = Step(call=call, upstream=self._tool.name, action=ACTION, state="reverted")
        try:
            image = Image.of(undo)
        except ImageDamaged as error:
            return _failed(step, "revert.not_revertible", error.detail)
        left = Left.of(undo)
        request = image.undo or left.undo
        if request is None:
            why = "Its undo needs the tool's answer, which was not recorded."
            return _failed(step, "revert.not_revertible", why)
        read = image.read or left.read
        try:
            now = None if read is None else await self._look(read)
        except UpstreamError as error:
            return _failed(step, error.reason, error.detail)
        found = Compensation(
            image=image,
            undo=request,
            read=read,
            verify=image.verify or left.verify,
            now=now,
            left=left,
        )
        step = self._judged(step, found, left)
        if step.restored:
            self._ready.append((step, found))
            if read is not None:
                self._shown[canonical(read)] = image.stood
        return step

    async def _look(self, read: Request) -> View:
        known = self._shown.get(canonical(read))
        return known if known is not None else View.now(await self._tool.sender.ask(read))

    def _judged(self, step: Step, found: Compensation, left: Left) -> Step:
        """The three-way comparison; without a read there is nothing to compare."""
        image, now = found.image, found.now
        if now is None:
            return replace(step, restored=1, detail="Sent without looking: no read is declared.")
        after = View(view=left.after) if left.seen else None
        undone = now.same(image.stood, image.ignore)
        if after is not None and now.same(after, image.ignore):
            # Also where the read shows no difference that the call made: then it cannot show either
            # that there is nothing to take back, so the undo is sent and not taken for done.
            return replace(step, restored=1)
        why = "undone" if undone else "changed" if after is not None else "unverified"
        if undone and self._on_conflict is not OnConflict.ABORT:
            return replace(step, detail=_WHY[why])
        conflict = Conflict(
            resource=image.plan,
            key=image.resource,
            before=image.before,
            after=left.after,
            now=now.view,
            why=why,
        )
        listed = replace(step, conflicts=(conflict,), reason="revert.conflict", detail=_WHY[why])
        if self._on_conflict is OnConflict.FORCE:
            return replace(listed, restored=1)
        return replace(listed, state="conflict")

    async def capture(self) -> Captured | Deny:
        """The way back from this: the declared redo, or the call's own request again, where the
        state that it led to can be compared."""
        if len(self._ready) != 1:
            raise ValueError("calls of a remote tool are taken back one at a time")
        _, found = self._ready[0]
        original = found.image
        inverse, repeatable, keyed = found.redo
        image = Image(
            plan=original.plan,
            resource=original.resource,
            tool_class=ToolClass.KEYED if original.undo_keyed else ToolClass.OPAQUE,
            request=found.undo,
            before=None if found.now is None else found.now.view,
            read=found.read,
            undo=inverse,
            verify=found.verify,
            undo_safe=repeatable,
            undo_keyed=keyed,
            safe=original.undo_safe,
            ignore=original.ignore,
            goal=original.before,
            fence_s=original.fence_s,
            key_kept_s=original.key_kept_s,
        )
        self._image = image
        self._captured_at = self._tool.clock.now()
        there = image.undo is not None
        reversibility = Reversibility.COMPENSABLE if there else Reversibility.IRREVERSIBLE
        return Captured(undo=image.as_undo(self._tool.name, reversibility), receipt=self._call.id)

    async def commit(self, permit: Permit) -> Outcome:
        image, at = self._image, self._captured_at
        if image is None or at is None or permit.call != self._call.id:
            raise ValueError("a permit is used for the captured revert alone")
        if not self._tool.fresh(at):
            raise UpstreamError("The gateway was held up. Nothing was sent.", reason="interrupted")
        self._tool.probe("remote.undo.sending")
        step = self._ready[0][0]
        return await compensate(
            self._tool, self._call, image, step, allowed=lambda: self._tool.fresh(at)
        )


async def compensate(
    tool: Tool,
    call: Call,
    image: Image,
    step: Step,
    *,
    doubt: bool = False,
    allowed: Callable[[], bool] | None = None,
) -> Outcome:
    """Sends the undo and looks whether the state is that of before the call. ``doubt``: it may
    have been sent before. ``allowed``: see ``Sender.send``."""
    payload = undo_payload(image, call)
    sent, shown = await _sent_and_seen(tool, payload, image, doubt, allowed)
    proven = image.tells and shown is not None and shown.same(View(view=image.goal), image.ignore)
    if sent.proves_no_effect and proven:
        return replace(reverted(step, shown), effect=EffectState.NONE)
    if not sent.applied and not proven:
        outcome = unapplied(sent, final=not payload.repeatable)
        return replace(outcome, result=None, live=None)
    if image.read is None and image.verify is None:
        detail: str | None = "Sent and accepted; no read is declared that would prove it."
        state = "reverted"
    elif proven:
        state, detail = "reverted", None
    elif not image.tells:
        state = "reverted"
        detail = "Sent and accepted; the declared read does not show what the call did."
    elif shown is None:
        state, detail = "reverted", "Sent and accepted; the read that would prove it failed."
    else:
        state = "partial"
        detail = "Sent and accepted, but the tool does not show the state of before the call."
    done = replace(step, state=state, detail=detail or step.detail)
    return reverted(done, shown)


async def _sent_and_seen(
    tool: Tool,
    payload: Payload,
    image: Image,
    doubt: bool,
    allowed: Callable[[], bool] | None,
) -> tuple[Sent, View | None]:
    """Without a key, a repeatable request is repeated only where the state shows that it has not
    arrived: otherwise it could run over what somebody wrote after it."""
    blind = payload.key is not None or image.read is None
    attempt = 1
    while True:
        retry = _AGAIN if blind else None
        sent = await tool.sender.send(payload, retry, doubt=doubt, allowed=allowed)
        tool.probe("remote.undo.sent")
        shown = await shown_now(tool, image)
        waits = not blind and payload.repeatable and not sent.applied and not sent.proves_no_effect
        untouched = shown is not None and shown.same(image.stood, image.ignore)
        if not waits or not untouched or attempt >= _AGAIN.attempts:
            return sent, shown
        doubt = True
        await tool.sender.rest(_AGAIN, attempt)
        if allowed is not None and not allowed():
            return sent, shown
        attempt += 1


def undo_payload(image: Image, call: Call) -> Payload:
    keyed = image.tool_class is ToolClass.KEYED
    return Payload(
        request=image.request,
        key=key_of(call.id) if keyed else None,
        repeatable=keyed or image.safe,
    )


async def shown_now(tool: Tool, image: Image) -> View | None:
    """What the read that proves a revert shows, or ``None`` where it cannot be had."""
    read = image.verify or image.read
    if read is None:
        return None
    try:
        return View.now(await tool.sender.ask(read))
    except UpstreamError:
        return None


def reverted(step: Step, shown: View | None) -> Outcome:
    left = Left(after=None if shown is None else shown.view, seen=shown is not None)
    return Outcome(
        state=State.REVERTED,
        effect=EffectState.APPLIED,
        result={"restored": step.restored},
        steps=(step,),
        kept=left.as_json(),
    )


def _failed(step: Step, reason: str, detail: str) -> Step:
    return replace(step, state="failed", reason=reason, detail=detail)


def _left_alone(step: Step) -> Step:
    if step.state != "reverted":
        return replace(step, restored=0)
    return replace(
        step,
        state="skipped",
        restored=0,
        reason="revert.conflict",
        detail="Left alone: another step of this revert could not be done.",
    )


def images_of(undo: Undo) -> list[dict[str, Json]]:
    """The images for people: what stood before, and what the call left."""
    image, left = Image.of(undo), Left.of(undo)
    return [
        {
            "resource": image.plan,
            "key": image.resource,
            "before": image.before,
            "after": left.after,
        }
    ]
