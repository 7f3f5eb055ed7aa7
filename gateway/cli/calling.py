"""calls, show, revert."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from gateway.cli.arguments import AsJson, moment
from gateway.cli.freezing import segment
from gateway.cli.remote import Answer, Remote, Usage
from gateway.cli.shell import Shell, shell_of
from gateway.model import Json, OnConflict

_POLL_S = 0.3
_PAGE = 500
Since = Annotated[str | None, typer.Option("--since", help="RFC 3339, or 15m, 2h, 1d ago.")]
Until = Annotated[str | None, typer.Option("--until", help="RFC 3339, or 15m, 2h, 1d ago.")]


def calls(
    context: typer.Context,
    session: Annotated[str | None, typer.Option("--session", help="Of this session.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Of this agent.")] = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[str | None, typer.Option("--state", help="In this state.")] = None,
    tool: Annotated[str | None, typer.Option("--tool", help="On this source or tool.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="From the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List calls, newest first."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get(
            "/admin/calls",
            session=session,
            agent=agent,
            since=moment(since, shell.now),
            until=moment(until, shell.now),
            state=state,
            tool=tool,
            limit=limit,
            cursor=cursor,
        )
    if as_json:
        shell.json(answer)
        return
    shell.printer.table(
        ("CALL", "AT", "AGENT", "SESSION", "TOOL", "STATE", "EFFECT", "WHAT"),
        [_row(item) for item in answer.items("calls")],
    )
    if answer.next:
        shell.printer.line(f"More: --cursor {answer.next}")


def _row(call: Json) -> tuple[object, ...]:
    refusal = (call.get("outcome") or {}).get("refusal") or call.get("decision") or {}
    reason = refusal.get("reason")
    return (
        call.get("call"),
        call.get("received_at"),
        call.get("agent"),
        call.get("session"),
        call.get("tool"),
        _state(call, reason),
        call.get("effect"),
        _what(call),
    )


def _state(call: Json, reason: Json) -> str:
    if call.get("reverted_by"):
        return f"{call.get('state')}, then reverted"
    return f"{call.get('state')} ({reason})" if reason else str(call.get("state"))


def _what(call: Json) -> Json:
    reverts = call.get("reverts")
    if reverts:
        others = f" and {len(reverts) - 1} more" if len(reverts) > 1 else ""
        return f"takes back {reverts[0]}{others}"
    return (call.get("request") or {}).get("sql")


def show(
    context: typer.Context,
    call: Annotated[str, typer.Argument(help="The call's id.")],
    as_json: AsJson = False,
) -> None:
    """Show one call: what it asked, what was decided, what happened, the way back."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get(f"/admin/calls/{segment(call)}")
    if as_json:
        shell.json(answer)
        return
    shell.printer.fields(flat(answer.body))


def flat(document: Json, prefix: str = "") -> Iterable[tuple[str, Json]]:
    """A document as ``a.b.c`` names and values; what is empty is left out."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from flat(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(document, list) and any(isinstance(item, dict | list) for item in document):
        for index, item in enumerate(document):
            yield from flat(item, f"{prefix}[{index}]")
    elif document not in (None, [], ""):
        yield prefix, document


def revert(
    context: typer.Context,
    call: Annotated[str | None, typer.Argument(help="Take back this call.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="Or a whole session.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Or an agent, with --since.")] = None,
    since: Since = None,
    until: Until = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show it, change nothing.")] = False,
    on_conflict: Annotated[
        OnConflict, typer.Option("--on-conflict", help="What to do where others changed rows.")
    ] = OnConflict.ABORT,
    reason: Annotated[str | None, typer.Option("--reason", help="For the audit log.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List every conflict.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back a call, a session, or everything an agent did since a time."""
    if [call, session, agent].count(None) != 2:
        raise Usage("Name a call, or --session, or --agent with --since.")
    if agent is not None and since is None:
        raise Usage("--agent needs --since.")
    if call is not None and (since or until):
        raise Usage("--since and --until go with --session or --agent.")
    shell = shell_of(context)
    body = {
        "call": call,
        "session": session,
        "agent": agent,
        "since": moment(since, shell.now),
        "until": moment(until, shell.now),
        "plan": plan,
        "on_conflict": str(on_conflict),
        "reason": reason,
    }
    with shell.remote() as remote:
        order = {k: v for k, v in body.items() if v is not None}
        answer = remote.post("/admin/reverts", order, early=True)
        answer = _finished(remote, answer, shell)
        _report(shell, answer, as_json)
        if every and not plan and not as_json:
            id = segment(answer.body.get("id"))
            found = remote.pages(f"/admin/reverts/{id}", "conflicts", limit=_PAGE)
            shell.printer.line()
            _conflicts(shell, [(c.get("call"), c) for c in found])
    steps = answer.items("steps")
    wanted = ("planned", "reverted") if plan else ("reverted",)
    if answer.body.get("state") not in wanted or any(s.get("state") not in wanted for s in steps):
        raise typer.Exit(1)


def _finished(remote: Remote, answer: Answer, shell: Shell) -> Answer:
    told = None
    while answer.body.get("state") == "running":
        time.sleep(_POLL_S)
        answer = remote.get(f"/admin/reverts/{segment(answer.body.get('id'))}", limit=1)
        progress = answer.body.get("progress") or {}
        if progress.get("total") and progress != told:
            told = progress
            shell.printer.complain(f"{progress['restored']} of {progress['total']} rows")
    return answer


def _report(shell: Shell, answer: Answer, as_json: bool) -> None:
    if as_json:
        shell.json(answer)
        return
    steps = answer.items("steps")
    shell.printer.line(f"{answer.body.get('state')} ({answer.body.get('id')})")
    shell.printer.table(
        ("CALL", "ON", "ACTION", "STATE", "ROWS", "WHY"),
        [
            (
                step.get("call"),
                step.get("upstream"),
                step.get("action"),
                step.get("state"),
                step.get("restored"),
                step.get("detail") or step.get("reason"),
            )
            for step in steps
        ],
    )
    if not steps:
        shell.printer.line("There was nothing to take back.")
    conflicts = [(step.get("call"), c) for step in steps for c in step.get("conflicts") or ()]
    if conflicts:
        shell.printer.line()
        shell.printer.line("Conflicts: somebody else changed these since. Nothing of theirs is")
        shell.printer.line("overwritten unless --on-conflict force is given.")
        _conflicts(shell, conflicts)
        more = sum(step.get("more") or 0 for step in steps)
        if more:
            shell.printer.line(f"And {more} more: --all lists them after a revert.")


def _conflicts(shell: Shell, conflicts: Sequence[tuple[Json, Json]]) -> None:
    shell.printer.table(
        ("CALL", "RESOURCE", "KEY", "BEFORE", "AFTER", "NOW"),
        [
            (call, c.get("resource"), c.get("key"), c.get("before"), c.get("after"), c["now"])
            for call, c in conflicts
        ],
    )
