"""quarantine list, purge."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.shell import shell_of

app = typer.Typer(
    no_args_is_help=True, help="What was put away in a source instead of being dropped."
)


@app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """List what lies in quarantine, oldest first."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get("/admin/quarantine")
    if as_json:
        shell.json(answer)
        return
    shell.printer.table(
        ("SOURCE", "CALL", "AGENT", "OBJECTS", "BYTES", "SINCE", "UNDO UNTIL"),
        [
            (
                item.get("source"),
                item.get("call"),
                item.get("agent"),
                item.get("objects"),
                item.get("bytes"),
                item.get("at"),
                item.get("expires_at"),
            )
            for item in answer.items("quarantine")
        ],
    )


@app.command()
def purge(
    context: typer.Context,
    call: Annotated[str, typer.Argument(help="The call that it is kept for.")],
    source: Annotated[str, typer.Option("--source", help="Where it lies.")],
    as_json: AsJson = False,
) -> None:
    """Ask to throw it away for good: the call can then no longer be taken back. A person has to
    approve that."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.post("/admin/quarantine/purges", {"source": source, "call": call})
    if as_json:
        shell.json(answer)
        return
    shell.printer.line(f"Waits for a person: holdfast approve {answer.body.get('approval')}")
