"""resolve."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.remote import Usage
from gateway.cli.shell import shell_of


def resolve(
    context: typer.Context,
    call: Annotated[str, typer.Argument(help="The call's id.")],
    applied: Annotated[bool, typer.Option("--applied", help="The effect happened.")] = False,
    none: Annotated[bool, typer.Option("--none", help="Nothing happened.")] = False,
    note: Annotated[
        str | None, typer.Option("--note", help="How you know; for the audit log.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Settle a call of unknown outcome by what you found out at the tool."""
    if applied == none:
        raise Usage("Say one of --applied and --none.")
    shell = shell_of(context)
    body = {"effect": "applied" if applied else "none"}
    if note is not None:
        body["note"] = note
    with shell.remote() as remote:
        answer = remote.post(f"/admin/calls/{segment(call)}/resolve", body)
    if as_json:
        shell.json(answer)
        return
    shell.printer.line(
        f"The call {answer.body.get('call')} is {answer.body.get('state')}, "
        f"effect {answer.body.get('effect')}."
    )
