"""audit verify, audit export, audit checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway.audit import Verdict
from gateway.audit import verify as verified
from gateway.cli.arguments import AsJson
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import Shell, shell_of
from gateway.model import Json

app = typer.Typer(no_args_is_help=True, help="The audit log: verify, export, checkpoint.")
Triple = tuple[int, str, str]


@app.command()
def verify(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="A file with checkpoints kept elsewhere.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="An exported log, instead of a gateway's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain here, entry by entry, and name the first bad one."""
    shell = shell_of(context)
    known = _checkpoints(checkpoint) if checkpoint else []
    if file is not None:
        verdict = verified(_exported(file), known)
    else:
        with shell.remote() as remote:
            verdict = verified((_triple(entry) for entry in remote.audit()), known)
    _tell(shell, verdict, len(known), as_json)
    if verdict.fault is not None:
        raise typer.Exit(1)


def _tell(shell: Shell, verdict: Verdict, known: int, as_json: bool) -> None:
    fault = verdict.fault
    if as_json:
        shell.document(
            {
                "ok": fault is None,
                "entries": verdict.entries,
                "head": verdict.head,
                "fault": {"seq": fault.seq, "why": fault.why} if fault else None,
            }
        )
    elif fault is not None:
        shell.printer.complain(f"Bad entry {fault.seq}: {fault.why}.")
        shell.printer.complain(f"{verdict.entries} entries before it are good.")
    else:
        against = f", and {known} checkpoints agree" if known else ""
        shell.printer.line(f"{verdict.entries} entries are good{against}. Head: {verdict.head}")


def _triple(entry: Json) -> Triple:
    try:
        seq, digest, body = entry["seq"], entry["hash"], entry["body"]
    except (KeyError, TypeError):
        raise Failed("An audit entry lacks seq, hash or body.") from None
    if not isinstance(seq, int) or not isinstance(digest, str) or not isinstance(body, str):
        raise Failed("An audit entry has a seq, hash or body of the wrong type.")
    return seq, digest, body


def _exported(file: Path) -> Iterator[Triple]:
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if not line:
            continue
        try:
            yield _triple(json.loads(line))
        except ValueError:
            raise Failed(f"{file}:{number}: not an entry of an exported log.") from None


def _checkpoints(file: Path) -> list[tuple[int, str]]:
    try:
        read = json.loads(_text(file))
        listed = read if isinstance(read, list) else [read]
        found = [(item["seq"], item["hash"]) for item in listed]
    except (ValueError, KeyError, TypeError):
        found = []
    if not found or not all(isinstance(s, int) and isinstance(h, str) for s, h in found):
        raise Usage(f"{file} holds no checkpoint: " + '{"seq": n, "hash": "..."} or a list.')
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Usage(f"{file} cannot be read.") from None


@app.command()
def export(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="A file; default: standard output.")] = (
        None
    ),
    after: Annotated[int, typer.Option("--after", min=0, help="Only entries after this.")] = 0,
    as_json: AsJson = False,  # noqa: ARG001 - the export is JSON lines either way
) -> None:
    """Write every entry as one JSON line with seq, hash and the hashed body, byte for byte."""
    shell = shell_of(context)
    with shell.remote() as remote:
        lines = (_line(entry) for entry in remote.audit(after))
        if out is None:
            for line in lines:
                shell.printer.raw(line)
        else:
            _write(out, lines)


def _line(entry: Mapping[str, Json]) -> str:
    seq, digest, body = _triple(entry)
    return json.dumps({"seq": seq, "hash": digest, "body": body}) + "\n"


def _write(file: Path, lines: Iterable[str]) -> None:
    aside = file.with_name(f".{file.name}.new")
    try:
        with aside.open("w", encoding="utf-8") as opened:
            opened.writelines(lines)
            opened.flush()
            os.fsync(opened.fileno())
        aside.replace(file)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}.") from None
    finally:
        aside.unlink(missing_ok=True)


@app.command()
def checkpoint(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="A file to write it to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a checkpoint. Keep it where whoever owns the store cannot write."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.post("/admin/audit/checkpoints", {})
    if out is not None:
        _write(out, [answer.text + "\n"])
    if as_json:
        shell.json(answer)
    elif out is None:
        shell.printer.line(json.dumps({k: answer.body.get(k) for k in ("seq", "hash")}))
    else:
        shell.printer.line(f"Checkpoint at entry {answer.body.get('seq')} written to {out}.")
