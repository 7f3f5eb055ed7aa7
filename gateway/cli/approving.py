"""approvals, approve, reject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.shell import shell_of
from gateway.model import Json

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
    outcome = answer.body.get("outcome") or {}
    if as_json:
        shell.json(answer)
        _check(decision, outcome)
        return
    shell.printer.line(f"{answer.body.get('state')}: {id}")
    refusal = (outcome.get("outcome") or {}).get("refusal") or {}
    why = f": {refusal.get('reason')}: {refusal.get('detail')}" if refusal else "."
    shell.printer.line(f"The call {outcome.get('call')} is {outcome.get('state')}{why}")
    _check(decision, outcome)


def _check(decision: str, call: Mapping[str, Json]) -> None:
    """Exit code 1 when a call that was let through did not succeed."""
    if decision == "approve" and call.get("state") not in ("succeeded", "executing", "intent"):
        raise typer.Exit(1)
