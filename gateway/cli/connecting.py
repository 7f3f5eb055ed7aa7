"""connect: points an MCP client at the gateway, and moves the servers it had behind the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.arguments import CONFIG, AsJson, ConfigFile
from gateway.cli.clients import (
    CLIENTS,
    GATEWAY,
    TOKEN_VARIABLE,
    Client,
    Connected,
    Unreadable,
    connected,
    gateway_block,
    with_servers,
)
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import Shell, shell_of
from gateway.config import ClientSettings, parse


def connect(
    context: typer.Context,
    client: Annotated[str, typer.Argument(help="One of: " + ", ".join(CLIENTS) + ".")],
    file: Annotated[
        Path | None, typer.Option("--file", help="The client's file, instead of its usual one.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", help="One server of the gateway instead of all.")
    ] = None,
    move: Annotated[
        bool, typer.Option("--move/--keep", help="Move the client's other servers behind it.")
    ] = True,
    write: Annotated[
        bool, typer.Option("--write", help="Write both files; what was there is kept beside them.")
    ] = False,
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Print, or write with --write, a client's configuration that points at the gateway."""
    shell = shell_of(context)
    known = CLIENTS.get(client)
    if known is None:
        raise Usage(f"{client!r} is not a client: {', '.join(CLIENTS)}.")
    where = (file or Path(known.file)).expanduser()
    url = f"{ClientSettings.read(shell.environ).url}/mcp" + (f"/{server}" if server else "")
    try:
        before = where.read_text(encoding="utf-8") if where.exists() else None
        result = connected(known, url, before, move=move, workspace=_workspace(where))
    except (Unreadable, UnicodeDecodeError) as error:
        raise Failed(f"{where} is left alone: {error}") from None
    except OSError as error:
        raise Failed(f"{where} cannot be read: {error.strerror}.") from None
    written = _write(shell, where, result, Path(config)) if write else []
    if as_json:
        shell.document(_document(known, where, result, written))
    elif write:
        _tell_written(shell, result, written)
    else:
        _show(shell, where, result)


def _workspace(file: Path) -> str:
    """The project that a client's file belongs to."""
    folder = file.resolve().parent
    return str(folder.parent if folder.name in (".vscode", ".cursor") else folder)


def _write(
    shell: Shell, where: Path, result: Connected, config: Path
) -> list[tuple[Path, Path | None]]:
    """Each written file with the copy of what it was. The gateway's own comes first: a server is
    taken from the client only once the gateway has it."""
    written = []
    try:
        if result.moved:
            text = with_servers(config.read_text(encoding="utf-8"), result.moved)
            # Only what the gateway can read takes the place of what it reads now.
            parse(text, _filled(shell, result), file=str(config))
            written.append((config, _replace(shell, config, text)))
        where.parent.mkdir(parents=True, exist_ok=True)
        written.append((where, _replace(shell, where, result.text)))
    except OSError as error:
        raise Failed(f"{error.filename} cannot be written: {error.strerror}.") from None
    return written


def _filled(shell: Shell, result: Connected) -> dict[str, str]:
    # The values are not needed to read the file, only that they can be there.
    stand_in = {name: f"value-of-{name}-later" for name in result.variables}
    tokens = {"HOLDFAST_ADMIN_TOKEN": "a" * 32, TOKEN_VARIABLE: "b" * 32}
    return {**tokens, **stand_in, **shell.environ}


def _replace(shell: Shell, file: Path, text: str) -> Path | None:
    """Writes ``file`` whole or not at all; where it was, a copy is kept and named."""
    backup = None
    mode = 0o600
    if file.exists():
        mode = file.stat().st_mode & 0o777
        backup = file.with_name(f"{file.name}.before-holdfast-{shell.now:%Y%m%dT%H%M%S}")
        backup.write_bytes(file.read_bytes())
        backup.chmod(mode)
    draft = file.with_name(f"{file.name}.new")
    draft.touch(mode=mode)
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
    return backup


def _show(shell: Shell, where: Path, result: Connected) -> None:
    shell.printer.raw(f"# {where}\n{result.text}")
    if result.moved:
        shell.printer.raw("# add to the gateway's configuration\n" + gateway_block(result.moved))
    _tell_variables(shell, result)


def _tell_written(shell: Shell, result: Connected, written: list[tuple[Path, Path | None]]) -> None:
    for file, backup in written:
        kept = f" (before: {backup})" if backup else ""
        shell.printer.line(f"Wrote {file}{kept}")
    _tell_variables(shell, result)
    if result.moved:
        names = ", ".join(result.moved)
        shell.printer.line(f"Behind the gateway from its next start on: {names}")


def _tell_variables(shell: Shell, result: Connected) -> None:
    shell.printer.line(f"The client's environment needs {TOKEN_VARIABLE}.")
    if result.variables:
        names = ", ".join(result.variables)
        shell.printer.line(f"The gateway's environment needs {names}.")


def _document(
    client: Client, where: Path, result: Connected, written: list[tuple[Path, Path | None]]
) -> dict[str, object]:
    return {
        "client": client.name,
        "server": GATEWAY,
        "file": str(where),
        "text": result.text,
        "moved": {name: dict(server) for name, server in result.moved.items()},
        "variables": {"client": [TOKEN_VARIABLE], "gateway": list(result.variables)},
        "written": [
            {"file": str(file), "before": None if backup is None else str(backup)}
            for file, backup in written
        ],
    }
