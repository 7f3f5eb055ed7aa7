"""source prepare."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from gateway.cli.arguments import CONFIG, AsJson, ConfigFile
from gateway.cli.remote import Usage
from gateway.cli.shell import Shell, shell_of
from gateway.config import load, with_tokens
from gateway.interfaces import Piece

app = typer.Typer(no_args_is_help=True, help="The databases that are protected.")


@app.callback()
def _group() -> None:
    """The databases that are protected."""


@app.command()
def prepare(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The source, as the configuration calls it.")],
    apply: Annotated[bool, typer.Option("--apply", help="Run what is missing.")] = False,
    include: Annotated[
        list[str] | None,
        typer.Option("--include", help="Also run this piece, which changes more than the source."),
    ] = None,
    admin_url: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="VARIABLE",
            help="The environment variable that holds an administrator's URL. Default: the "
            "gateway's own role (capture_url).",
        ),
    ] = None,
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show (or give) the roles, grants and objects that exact images and reverts need."""
    from gateway import app as gateway

    shell = shell_of(context)
    settings = load(config, with_tokens(shell.environ).environ)
    if name not in settings.sources:
        known = ", ".join(sorted(settings.sources)) or "none"
        raise Usage(f"There is no source {name!r}; there are: {known}.")
    chosen, url = frozenset(include or ()), _of(shell, admin_url)
    pieces = asyncio.run(gateway.prepare(settings, name, apply=False, admin_url=url))
    unknown = chosen - {piece.id for piece in pieces}
    if unknown:
        raise Usage(f"There is no piece {', '.join(sorted(unknown))}.")
    if apply:
        pieces = asyncio.run(
            gateway.prepare(settings, name, apply=True, include=chosen, admin_url=url)
        )
    _tell(shell, name, pieces, as_json)
    if any(piece.state == "failed" for piece in pieces):
        raise typer.Exit(1)


def _of(shell: Shell, variable: str | None) -> str | None:
    # A URL with a password does not belong on a command line.
    if variable is None:
        return None
    found = shell.environ.get(variable)
    if not found:
        raise Usage(f"The environment variable {variable} is not set.")
    return found


def _tell(shell: Shell, name: str, pieces: Sequence[Piece], as_json: bool) -> None:
    ready = all(piece.state in ("there", "applied") for piece in pieces if piece.unasked)
    if as_json:
        shell.document(
            {"source": name, "ready": ready, "pieces": [piece.as_json() for piece in pieces]}
        )
        return
    for piece in pieces:
        optional = "" if piece.unasked else f" (only with --include {piece.id})"
        shell.printer.line(f"-- {piece.id}: {piece.state}{optional}: {piece.gives}.")
        if piece.detail is not None:
            shell.printer.line(f"--   {piece.detail}")
        if piece.state in ("missing", "failed"):
            shell.printer.line(f"--   Without it: {piece.without}")
            for statement in piece.statements:
                shell.printer.raw(f"{statement};")
    done = "Everything that exact images and reverts need is there."
    shell.printer.line(f"-- {done}" if ready else "-- Something is missing.")
