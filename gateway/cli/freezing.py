"""freeze, unfreeze, freezes."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.arguments import AsJson, moment, scope_of
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import shell_of
from gateway.model import Json


def freeze(
    context: typer.Context,
    scope: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to freeze: source:NAME table:NAME agent:NAME effect:NAME tool:NAME. A bare "
            "word is an effect class or a source. Nothing: everything that writes."
        ),
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Shown to everyone it stops.")],
    until: Annotated[
        str | None, typer.Option("--until", help="RFC 3339, or 2h from now. Default: until lifted.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="RFC 3339, or 2h from now. Default: now.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Wait for what is running.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop every write in scope. No policy can lift a freeze."""
    shell = shell_of(context)
    body: dict[str, Json] = {
        "scope": scope_of(scope or []),
        "reason": reason,
        "starts_at": moment(start, shell.now, ahead=True),
        "ends_at": moment(until, shell.now, ahead=True),
        "drain": drain,
    }
    with shell.remote() as remote:
        answer = remote.post(
            "/admin/freezes", {name: value for name, value in body.items() if value is not None}
        )
    if as_json:
        shell.json(answer)
        return
    flying = answer.body.get("in_flight") or []
    shell.printer.line(f"Frozen: {answer.body.get('id')}")
    if flying:
        shell.printer.line(f"Calls that may still land: {', '.join(map(str, flying))}")
    elif answer.body.get("drained"):
        shell.printer.line("Drained: nothing in scope is running.")


def unfreeze(
    context: typer.Context,
    id: Annotated[str | None, typer.Argument(help="The freeze to lift.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Lift all that people have set.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lift a freeze. Recurring windows stand in the configuration and are not lifted here."""
    if (id is None) != every:
        raise Usage("Name one freeze, or give --all.")
    shell = shell_of(context)
    with shell.remote() as remote:
        if id is not None:
            answer = remote.delete(f"/admin/freezes/{segment(id)}")
            if as_json:
                shell.json(answer)
            else:
                shell.printer.line(f"Lifted: {id}")
            return
        lifted = []
        for item in remote.get("/admin/freezes").items("freezes"):
            if not str(item.get("origin", "")).startswith("window:"):
                lifted.append(remote.delete(f"/admin/freezes/{segment(item['id'])}").body)
        if as_json:
            shell.document({"freezes": lifted})
        else:
            shell.printer.line(f"Lifted: {len(lifted)}")


def freezes(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Lifted ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the freezes, recurring windows in force included."""
    shell = shell_of(context)
    with shell.remote() as remote:
        answer = remote.get("/admin/freezes", lifted="true" if every else None)
    if as_json:
        shell.json(answer)
        return
    rows = [
        (f["id"], _scope(f.get("scope")), f.get("reason"), f.get("starts_at"), _end(f))
        for f in answer.items("freezes")
    ]
    shell.printer.table(("ID", "SCOPE", "REASON", "FROM", "UNTIL"), rows)


def _scope(scope: Json) -> str:
    if not isinstance(scope, dict):
        return "?"
    parts = [f"{kind[:-1]}:{name}" for kind, names in scope.items() for name in names]
    return " ".join(parts) or "everything that writes"


def _end(freeze: Json) -> str:
    lifted = freeze.get("lifted_at")
    return f"lifted {lifted}" if lifted else freeze.get("ends_at") or "lifted by hand"


def segment(id: Json) -> str:
    """An id as one segment of a path; what would be another path is refused."""
    if not isinstance(id, str) or not id or not all(c.isalnum() or c in "_-.:" for c in id):
        raise Failed(f"{id!r} is not an id.")
    if id.strip(".") == "":
        raise Failed(f"{id!r} is not an id.")
    return id
