"""snapshots list, show, delete, rotate."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.freezing import segment
from gateway.cli.shell import shell_of
from gateway.model import Json

app = typer.Typer(no_args_is_help=True, help="What calls are taken back from.")
Id = Annotated[str, typer.Argument(help="The snapshot's id.")]


@app.command("list")
def listed(
    context: typer.Context,
    call: Annotated[str | None, typer.Option("--call", help="Of this call.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="From the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List snapshots, newest first."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get("/admin/snapshots", call=call, limit=limit, cursor=cursor)
    if as_json:
        shell.json(answer)
        return
    shell.printer.table(
        ("SNAPSHOT", "CALL", "SOURCE", "UNDO", "BYTES", "STORED", "KEY", "EXPIRES", "DELETED"),
        [
            (
                item.get("id"),
                item.get("call"),
                item.get("upstream"),
                item.get("reversibility"),
                item.get("bytes"),
                item.get("stored_bytes"),
                item.get("key"),
                item.get("expires_at"),
                item.get("erased_at") or item.get("deleted_at"),
            )
            for item in answer.items("snapshots")
        ],
    )
    if answer.next:
        shell.printer.line(f"More: --cursor {answer.next}")


@app.command()
def show(
    context: typer.Context,
    id: Id,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Images to pass over.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show a snapshot and a page of its images."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get(f"/admin/snapshots/{segment(id)}", limit=limit, offset=offset)
    if as_json:
        shell.json(answer)
        return
    images = answer.body.get("images")
    facts = {k: v for k, v in answer.body.items() if k not in ("images", "offset", "next_offset")}
    shell.printer.fields([(name, value) for name, value in facts.items() if value is not None])
    if images is None:
        shell.printer.line("Its images were deleted, or its source is not configured any more.")
        return
    shell.printer.table(
        ("RESOURCE", "KEY", "BEFORE", "AFTER"),
        [(i.get("resource"), i.get("key"), i.get("before"), i.get("after")) for i in images],
    )
    if answer.body.get("next_offset") is not None:
        shell.printer.line(f"More: --offset {answer.body['next_offset']}")


@app.command()
def delete(context: typer.Context, id: Id, as_json: AsJson = False) -> None:
    """Delete the images for good. The call can no longer be taken back."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.delete(f"/admin/snapshots/{segment(id)}")
    if as_json:
        shell.json(answer)
    else:
        shell.printer.line(f"Deleted: {id}. Nothing of it can be read any more.")


@app.command()
def rotate(context: typer.Context, as_json: AsJson = False) -> None:
    """Put the keys of all images under the active key of the configuration."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.post("/admin/snapshots/rotate", {})
    if as_json:
        shell.json(answer)
    else:
        shell.printer.line(_turned(answer.body))
    if answer.body.get("damaged"):
        raise typer.Exit(1)


def _turned(body: Json) -> str:
    said = f"{body.get('rewrapped')} images are under the key {body.get('key')} now."
    if body.get("damaged"):
        said += f" {body['damaged']} could not be read: they are damaged."
    if body.get("plain"):
        said += f" {body['plain']} are from before there was a key, and are not encrypted."
    return said
