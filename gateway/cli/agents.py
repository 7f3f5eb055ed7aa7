"""agent add, agent revoke, agent list."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.shell import shell_of

app = typer.Typer(no_args_is_help=True, help="Agents and their tokens.")
Name = Annotated[str, typer.Argument(help="The agent's name.")]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    role: Annotated[list[str] | None, typer.Option("--role", help="May be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an agent. Its token is shown once and stored as a hash only."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.post("/admin/agents", {"name": name, "roles": role or []})
    if as_json:
        shell.json(answer)
        return
    shell.printer.line(f"Agent {name} has the token (shown this once):")
    shell.printer.line(str(answer.body.get("token")))


@app.command()
def revoke(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Take an agent's token away, from the next call on."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.delete(f"/admin/agents/{segment(name)}")
    if as_json:
        shell.json(answer)
    else:
        shell.printer.line(f"Revoked: {name}")


@app.command("list")
def list_agents(context: typer.Context, as_json: AsJson = False) -> None:
    """List the agents."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get("/admin/agents")
    if as_json:
        shell.json(answer)
        return
    shell.printer.table(
        ("AGENT", "ROLES", "FROM", "SINCE", "REVOKED"),
        [
            (
                a.get("name"),
                a.get("roles"),
                a.get("origin"),
                a.get("created_at"),
                a.get("revoked_at"),
            )
            for a in answer.items("agents")
        ],
    )
