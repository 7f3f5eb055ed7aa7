"""What became of a request whose answer was lost: by class, never by guessing.

Keyed: it is sent again under the same key, as long as the tool remembers keys. Probe-able: a read
tells, once nothing that was sent can still arrive. Opaque: nobody can tell but a person. A
compensation is looked at where its state can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.errors import ImageDamaged, UpstreamError
from gateway.interfaces import Unsettled
from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Json, Outcome, Permit, Step, ToolClass
from gateway.upstreams.remote.attempt import Tool, applied, look_after, payload_of, unapplied
from gateway.upstreams.remote.imaging import Image, Left
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.rendering import ANSWER
from gateway.upstreams.remote.transport import Answer
from gateway.upstreams.remote.unwinding import ACTION, compensate, reverted, shown_now
from gateway.upstreams.remote.views import View

# What an answer has around the state that it tells.
_ENVELOPE = frozenset({"status", "headers"})


async def resolve(
    tool: Tool, unsettled: Unsettled, plan: Plan | None, permit: Permit | None
) -> Outcome | None:
    """See ``Resolver``. ``plan``: how the call is declared now; ``None`` where it is not any
    more."""
    try:
        image = Image.of(unsettled.undo)
    except ImageDamaged as error:
        return _unknown(error.detail) if permit is not None else None
    if unsettled.call.reverts:
        return await _compensation(tool, unsettled, image, permit)
    if permit is None:
        return await _probed(tool, unsettled, plan)
    if image.tool_class is not ToolClass.KEYED:
        return _unknown("The gateway stopped while the tool was carrying out this call.")
    if not image.bare or _older(tool, unsettled.call.received_at, image.key_kept_s):
        return _unknown("The request cannot be sent again under its key.")
    return await _sent_again(tool, unsettled, image, plan)


async def _sent_again(
    tool: Tool, unsettled: Unsettled, image: Image, plan: Plan | None
) -> Outcome | None:
    tool.probe("remote.sending_again")
    retry = plan.retry if plan is not None else None
    payload = payload_of(image, unsettled.call)
    began = tool.clock.now()
    sent = await tool.sender.send(payload, retry, doubt=True, allowed=lambda: tool.fresh(began))
    tool.probe("remote.sent_again")
    if sent.applied and sent.answer is not None:
        left = Left(undo=image.undo, read=image.read, verify=image.verify)
        if plan is not None:
            left = _own(await look_after(tool, plan, image, sent.answer), sent.answer)
        return applied(sent.answer, left)
    if sent.answer is not None and sent.answer.proves_no_effect:
        # The error is about this request; an earlier one may still arrive.
        return unapplied(sent, final=True)
    return None


def _own(left: Left, answer: Answer) -> Left:
    """The state that is read now is the call's own only where the tool's answer tells the same:
    since the request took effect, which may be long ago, others may have written. Otherwise
    nothing is kept, and a revert says that it cannot tell (``unverified``)."""
    if left.seen and left.after is not None and _same_state(answer.view, left.after):
        return left
    return replace(left, after=None, seen=False)


def _same_state(answered: Mapping[str, Json], read: Mapping[str, Json]) -> bool:
    """By the entity tag, where both have a strong one; else by all that was told."""
    tags = [str((view.get("headers") or {}).get("etag", "")) for view in (answered, read)]
    if all(tag.startswith('"') for tag in tags):
        return tags[0] == tags[1]
    told = [{k: v for k, v in view.items() if k not in _ENVELOPE} for view in (answered, read)]
    return told[0] == told[1] and any(value is not None for value in told[0].values())


async def _probed(tool: Tool, unsettled: Unsettled, plan: Plan | None) -> Outcome | None:
    if plan is None or plan.probing is None:
        return None
    if not _older(tool, unsettled.since, plan.probing.fence_s):
        return None
    values: dict[str, Json] = {**plan.values}
    image = Image.of(unsettled.undo)
    if image.before is not None:
        values["before"] = image.before
    try:
        request = plan.probing.request(values)
        answer = await tool.sender.ask(request)
    except (UpstreamError, LookupError):
        return None
    happened = plan.probing.happened({**values, ANSWER: answer.view})
    if happened is None:
        return None
    if not happened:
        return _none("A probe found that it never happened.")
    left = Left(undo=image.undo, read=image.read, verify=image.verify)
    return Outcome(
        state=State.SUCCEEDED,
        effect=EffectState.APPLIED,
        result={"recovered": True, "by": "probe"},
        kept=left.as_json(),
    )


async def _compensation(
    tool: Tool, unsettled: Unsettled, image: Image, permit: Permit | None
) -> Outcome | None:
    target = unsettled.call.reverts[0]
    step = Step(call=target, upstream=tool.name, action=ACTION, state="reverted", restored=1)
    readable = image.read is not None or image.verify is not None
    shown = await shown_now(tool, image)
    # Where the read shows the same before and after the compensation, it tells nothing of it.
    if image.tells and shown is not None and shown.same(View(view=image.goal), image.ignore):
        return reverted(step, shown)
    untouched = shown is not None and shown.same(image.stood, image.ignore)
    if permit is not None:
        if readable and shown is None:
            return None  # the tool cannot be asked now
        again = (untouched and image.safe) or (
            image.tool_class is ToolClass.KEYED
            and not _older(tool, unsettled.call.received_at, image.key_kept_s)
        )
        if not again:
            return _unknown("The gateway stopped while the tool was taking this call back.")
        began = tool.clock.now()
        outcome = await compensate(
            tool, unsettled.call, image, step, doubt=True, allowed=lambda: tool.fresh(began)
        )
        unfinished = outcome.state is State.UNKNOWN and not outcome.final
        return None if unfinished else outcome
    if image.tells and untouched and _older(tool, unsettled.since, image.fence_s):
        return _none("The compensation never arrived.", step)
    return None


def _older(tool: Tool, since: datetime, seconds: float) -> bool:
    return tool.clock.now() - since >= timedelta(seconds=seconds)


def _unknown(why: str) -> Outcome:
    return Outcome(
        state=State.UNKNOWN,
        effect=EffectState.UNKNOWN,
        refusal=Deny(
            reason="outcome.unknown",
            detail=f"{why} It is not known whether the effect happened.",
            extra={"evidence": {"answered": False}},
            effect=EffectState.UNKNOWN,
        ),
        final=True,
    )


def _none(why: str, step: Step | None = None) -> Outcome:
    refusal = Deny(reason="interrupted", detail=f"{why} Nothing was changed.")
    steps: tuple[Step, ...] = ()
    if step is not None:
        failed = Step(
            call=step.call,
            upstream=step.upstream,
            action=step.action,
            state="failed",
            reason=refusal.reason,
            detail=refusal.detail,
        )
        steps = (failed,)
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal, steps=steps)
