"""approvals, approve, reject."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.shell import shell_of

Id = Annotated[str, typer.Argument(help="The approval's id.")]
Note = Annotated[str | None, typer.Option("--note", help="For the audit log and the agent.")]


def approvals(context: typer.Context, as_json: AsJson = False) -> None:
    """List the calls that wait for a person."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get("/admin/approvals")
    if as_json:
        shell.json(answer)
        return
    shell.printer.table(
        ("APPROVAL", "CALL", "AGENT", "WHY", "WHAT", "MEASURED", "DIGEST", "EXPIRES"),
        [
            (
                item.get("id"),
                item.get("call"),
                item.get("agent"),
                item.get("reasons"),
                (item.get("request") or {}).get("sql"),
                (item.get("measured") or {}).get("rows"),
                item.get("digest"),
                item.get("expires_at"),
            )
            for item in answer.items("approvals")
        ],
    )


def approve(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Let a waiting call through, once, exactly as it was asked."""
    _decide(context, id, "approve", note, as_json)


def reject(context: typer.Context, id: Id, note: Note = None, as_json: AsJson = False) -> None:
    """Refuse a waiting call."""
    _decide(context, id, "reject", note, as_json)


def _decide(
    context: typer.Context, id: str, decision: str, note: str | None, as_json: bool
) -> None:
    shell = shell_of(context)
    body = {"decision": decision} if note is None else {"decision": decision, "note": note}
    with shell.remote() as remote:
        answer = remote.post(f"/admin/approvals/{segment(id)}", body)
    if as_json:
        shell.json(answer)
        return
    outcome = answer.body.get("outcome") or {}
    shell.printer.line(f"{answer.body.get('state')}: {id}")
    shell.printer.line(f"The call {outcome.get('call')} is {outcome.get('state')}.")
