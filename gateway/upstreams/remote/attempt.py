"""One call of a remote tool: read before, make the way back durable, send, read after.

Nothing is sent before ``commit``, so leaving without it needs no rollback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Clock, Probe, Ran
from gateway.lifecycle import State
from gateway.model import (
    Call,
    Deny,
    EffectState,
    Json,
    Measured,
    Outcome,
    Permit,
    Reversibility,
    RowCounts,
    ToolClass,
)
from gateway.upstreams.remote.imaging import Image, Left
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.rendering import render
from gateway.upstreams.remote.sending import Payload, Sender, Sent
from gateway.upstreams.remote.transport import Answer
from gateway.upstreams.remote.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What an attempt and a way back share. ``fresh_s``: how old a permit may be when it is used,
    the last time included; shorter than the lease, so that nothing is sent for a call that recovery
    has taken over."""

    name: str
    sender: Sender
    clock: Clock
    probe: Probe
    fresh_s: float = 60.0

    def fresh(self, captured_at: datetime) -> bool:
        """Whether a permit that was asked for at ``captured_at`` may still be used."""
        return self.clock.now() - captured_at <= timedelta(seconds=self.fresh_s)


class RemoteAttempt:
    """``Attempt`` over a ``Plan``."""

    def __init__(self, tool: Tool, call: Call, plan: Plan) -> None:
        self._tool = tool
        self._call = call
        self._plan = plan
        self._image: Image | None = None
        self._captured_at: datetime | None = None

    async def read(self) -> Outcome:
        plan = self._plan
        payload = Payload(
            request=plan.request, body=self._call.body, live=True, repeatable=plan.safe
        )
        sent = await self._tool.sender.send(payload, plan.retry)
        if sent.answer is None:
            assert sent.error is not None
            # Whatever became of it, a read has no effect.
            raise UpstreamError(sent.error.detail, reason=sent.error.reason)
        return _read_outcome(sent.answer)

    async def run(self) -> Ran:
        """The declared extent; nothing is sent."""
        rows = RowCounts(updated=self._plan.rows)
        measured = Measured(tables={self._plan.resource: rows} if rows.total else {})
        return Ran(measured=measured, result={"plan": self._plan.name, "sent": False})

    async def capture(self) -> Captured | Deny:
        plan = self._plan
        irreversible = plan.reversibility is Reversibility.IRREVERSIBLE
        image = Image(
            plan=plan.name,
            resource=plan.resource,
            tool_class=plan.tool_class,
            request=plan.request,
            undo_safe=plan.undo_safe,
            undo_keyed=plan.undo_keyed,
            redo_declared=plan.redo is not None,
            redo_safe=plan.redo_safe,
            safe=plan.safe,
            ignore=plan.ignore,
            fence_s=plan.probing.fence_s if plan.probing is not None else plan.fence_s,
            key_kept_s=plan.key_kept_s,
            bare=plan.bare,
        )
        if plan.before is not None:
            found = await self._before(image)
            if isinstance(found, Deny):
                return found
            image = found
        if not irreversible:
            made = self._way_back(image)
            if isinstance(made, Deny):
                return made
            image = made
        self._image = image
        self._captured_at = self._tool.clock.now()
        undo = image.as_undo(self._tool.name, plan.reversibility)
        return Captured(undo=undo, receipt=self._call.id)

    async def _before(self, image: Image) -> Image | Deny:
        read = render(self._plan, self._plan.before).request
        if read is None:
            return _unavailable("the read before it needs a value that the call does not have")
        try:
            view = View.of(await self._tool.sender.ask(read))
        except UpstreamError as error:
            return _unavailable(f"the read before it failed: {error.detail}", error.reason)
        request = image.request
        conditional = render(self._plan, self._plan.conditional, before=view.view).request
        image = replace(image, read=read, before=view.view)
        return image if conditional is None else replace(image, request=conditional, again=request)

    def _way_back(self, image: Image) -> Image | Deny:
        plan = self._plan
        undo = render(plan, plan.undo, before=image.before)
        if undo.request is None and not undo.later:
            absent = plan.before is not None and image.before is None
            why = "nothing is there that could be restored" if absent else "no undo can be made"
            return _unavailable(why)
        verify = render(plan, plan.verify, before=image.before).request
        read = image.read if plan.before is not None else verify
        return replace(image, undo=undo.request, verify=verify, read=read)

    async def commit(self, permit: Permit) -> Outcome:
        image, at = self._image, self._captured_at
        if image is None or at is None or permit.call != self._call.id:
            raise ValueError("a permit is used for the captured call alone")
        if not self._tool.fresh(at):
            # Recovery may have taken the call over by now: a late request would come as a surprise.
            raise UpstreamError("The gateway was held up. Nothing was sent.", reason="interrupted")
        self._tool.probe("remote.sending")
        sent = await self._tool.sender.send(
            payload_of(image, self._call), self._plan.retry, allowed=lambda: self._tool.fresh(at)
        )
        self._tool.probe("remote.sent")
        if not sent.applied:
            return unapplied(sent, final=image.tool_class is not ToolClass.KEYED)
        assert sent.answer is not None
        left = await look_after(self._tool, self._plan, image, sent.answer)
        return applied(sent.answer, left)


def key_of(call: str) -> str:
    """The idempotency key of a call at its tool: the same whoever sends it, however often."""
    return f"holdfast-{call}"


def payload_of(image: Image, call: Call) -> Payload:
    keyed = image.tool_class is ToolClass.KEYED
    return Payload(
        request=image.request,
        key=key_of(call.id) if keyed else None,
        body=call.body,
        live=True,
        repeatable=keyed or image.safe,
    )


async def look_after(tool: Tool, plan: Plan, image: Image, answer: Answer) -> Left:
    """Renders what needed the answer, and reads the state that the call left."""
    said = answer.view
    undo, verify, read = image.undo, image.verify, image.read
    if undo is None:
        undo = render(plan, plan.undo, before=image.before, answer=said).request
    if verify is None:
        verify = render(plan, plan.verify, before=image.before, answer=said).request
    read = read or verify
    left = Left(undo=undo, read=read, verify=verify)
    if read is None or plan.reversibility is Reversibility.IRREVERSIBLE:
        return left
    try:
        after = View.now(await tool.sender.ask(read)).view
    except UpstreamError:
        # A revert then says that it cannot tell whether somebody else wrote since.
        return left
    redo = render(plan, plan.redo, before=image.before, answer=said, after=after).request
    return replace(left, after=after, seen=True, redo=redo)


def applied(answer: Answer, left: Left) -> Outcome:
    return Outcome(
        state=State.SUCCEEDED,
        effect=EffectState.APPLIED,
        result=answer.result,
        kept=left.as_json(),
        live=answer.live,
    )


def unapplied(sent: Sent, *, final: bool) -> Outcome:
    """``failed`` only where the end proves that nothing happened; otherwise ``unknown``, with
    what was seen. ``final``: nobody will send it again."""
    answer, error = sent.answer, sent.error
    certain = sent.proves_no_effect
    if answer is not None:
        detail = "The tool answered with an error."
    else:
        detail = error.detail if error is not None else "There was no answer."
    evidence: dict[str, Json] = {"attempts": sent.attempts, "answered": answer is not None}
    if answer is not None and "status" in answer.view:
        evidence["status"] = answer.view["status"]
    if error is not None:
        evidence["error"] = error.reason
    named = error.reason if error is not None else "upstream.failed"
    effect = EffectState.NONE if certain else EffectState.UNKNOWN
    if not certain:
        detail = f"{detail} It is not known whether the effect happened."
    return Outcome(
        state=State.FAILED if certain else State.UNKNOWN,
        effect=effect,
        result=None if answer is None else answer.result,
        refusal=Deny(
            reason=named if certain else "outcome.unknown",
            detail=detail,
            extra={"evidence": evidence},
            effect=effect,
        ),
        final=final,
        live=None if answer is None else answer.live,
    )


def _read_outcome(answer: Answer) -> Outcome:
    refusal = None
    if answer.failed:
        refusal = Deny(reason="upstream.failed", detail="The tool answered with an error.")
    return Outcome(
        state=State.FAILED if answer.failed else State.SUCCEEDED,
        effect=EffectState.NONE,
        result=answer.result,
        refusal=refusal,
        live=answer.live,
    )


def _unavailable(why: str, error: str | None = None) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This cannot be undone: {why}. Nothing was sent.",
        extra={} if error is None else {"cause": error},
    )
