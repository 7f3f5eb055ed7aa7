"""mcp tools, mcp approve: what the tools of MCP servers say, and whether that is approved."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.remote import Failed
from gateway.cli.shell import shell_of

app = typer.Typer(no_args_is_help=True, help="MCP servers and their tools.")
Server = Annotated[str, typer.Argument(help="The server's name.")]


@app.command()
def tools(context: typer.Context, server: Server, as_json: AsJson = False) -> None:
    """List a server's tools; what is hidden in their texts is written out."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get(f"/admin/mcp/{segment(server)}/tools")
    if as_json:
        shell.json(answer)
        return
    found = answer.items("tools")
    shell.printer.table(
        ("TOOL", "STATE", "DESCRIPTION", "WARNINGS"),
        [
            (
                tool.get("tool"),
                tool.get("state"),
                (tool.get("document") or {}).get("description"),
                "; ".join(tool.get("warnings") or []),
            )
            for tool in found
        ],
    )


@app.command()
def approve(
    context: typer.Context,
    server: Server,
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    digest: Annotated[
        str | None, typer.Option(help="Approve only this version; the one seen last by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a tool as it is now."""
    shell = shell_of(context)
    path = f"/admin/mcp/{segment(server)}/tools"
    with shell.remote() as remote:
        if digest is None:
            known = [t for t in remote.get(path).items("tools") if t.get("tool") == tool]
            if not known:
                raise Failed(f"{server} has no tool called {tool!r}.")
            digest = str(known[0]["digest"])
        answer = remote.post(path, {"tool": tool, "digest": digest})
    if as_json:
        shell.json(answer)
    else:
        shell.printer.line(f"Approved: {tool}")
