"""tools derive, tools rehearse: how the calls of an HTTP tool could be taken back, and whether they
can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import yaml

from gateway.cli.arguments import CONFIG, AsJson, ConfigFile
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import shell_of
from gateway.config import Config, ToolSettings, load, with_tokens
from gateway.model import Json
from gateway.upstreams.openapi.derive import Derived, derive
from gateway.upstreams.openapi.document import (
    MAX_BYTES,
    DocumentInvalid,
    Operation,
    digest_of_document,
    read,
)

app = typer.Typer(no_args_is_help=True, help="HTTP tools and their undo handlers.")
ToolName = Annotated[str, typer.Argument(help="A tool of the configuration.")]
Document = Annotated[
    str | None, typer.Option("--openapi", help="File or URL, instead of the tool's `openapi`.")
]
_TIMEOUT_S = 30.0


@app.command("derive")
def derive_routes(
    context: typer.Context,
    tool: ToolName,
    openapi: Document = None,
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Print the routes that the tool's OpenAPI document carries an undo for, and why others not."""
    shell = shell_of(context)
    settings = _tool(load(config, with_tokens(shell.environ).environ), tool)
    proposals = derive(_read(_described(settings, openapi)))
    if as_json:
        shell.document([_document(proposal) for proposal in proposals])
    else:
        shell.printer.raw(as_yaml(proposals))


@app.command("rehearse")
def rehearse_routes(
    context: typer.Context,
    tool: ToolName,
    sandbox: Annotated[str, typer.Option("--sandbox", help="Where a copy of the tool runs.")],
    openapi: Document = None,
    derived: Annotated[
        bool, typer.Option("--derived", help="The derived routes instead of the declared ones.")
    ] = False,
    samples: Annotated[
        Path | None, typer.Option("--samples", help="YAML: {route: {params: {}, body: ...}}.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Where to keep which are proven; default: `rehearsed`."),
    ] = None,
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Do, undo and verify each route against a sandbox, and tell which are proven."""
    from gateway.sandbox.proving import Given, record_of, rehearse

    shell = shell_of(context)
    whole = load(config, with_tokens(shell.environ).environ)
    settings = _tool(whole, tool)
    described = openapi is not None or settings.openapi is not None
    document = _described(settings, openapi) if described or derived else ""
    operations = _read(document) if document else ()
    if derived:
        whole = _with_routes(whole, tool, derive(operations))
    given = Given(
        operations=operations,
        samples=_samples(samples),
        openapi=digest_of_document(document) if derived else None,
    )
    proofs = asyncio.run(rehearse(whole, tool, sandbox.rstrip("/"), given))
    kept = record or (Path(settings.rehearsed) if settings.rehearsed else None)
    text = record_of(tool, sandbox, shell.now.isoformat(), proofs, _earlier(kept))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(text, encoding="utf-8")
    if as_json:
        shell.printer.raw(text)
    else:
        shell.printer.table(
            ("ROUTE", "PROVEN", "WHY NOT"), [(p.route, p.proven, p.why or "") for p in proofs]
        )
    if not proofs or not all(proof.proven for proof in proofs):
        raise typer.Exit(1)


def _tool(config: Config, name: str) -> ToolSettings:
    settings = config.tools.get(name)
    if settings is None:
        known = ", ".join(sorted(config.tools)) or "none"
        raise Usage(f"There is no tool {name!r}; there are: {known}.")
    return settings


def _described(settings: ToolSettings, openapi: str | None) -> str:
    where = openapi or settings.openapi
    if where is None:
        raise Usage("Name the tool's OpenAPI document: --openapi, or `openapi` of the tool.")
    return _text(where)


def _read(document: str) -> tuple[Operation, ...]:
    try:
        return read(document)
    except DocumentInvalid as error:
        raise Failed(str(error)) from None


def _earlier(record: Path | None) -> Sequence[Json]:
    """The routes of the record that is there already; one that cannot be read is replaced."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))["routes"] if record else []
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) else []


def _text(where: str) -> str:
    if not where.startswith(("http://", "https://")):
        try:
            return Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failed(f"{where} cannot be read: {error}.") from None
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", where) as answer,
        ):
            answer.raise_for_status()
            found = b""
            for piece in answer.iter_bytes():
                found += piece
                if len(found) > MAX_BYTES:
                    raise Failed(f"{where} is over {MAX_BYTES} bytes.")
            return found.decode()
    except (httpx.HTTPError, UnicodeDecodeError) as error:
        raise Failed(f"{where} cannot be read: {error}.") from None


def _with_routes(config: Config, tool: str, proposals: Sequence[Derived]) -> Config:
    settings = config.tools[tool]
    routes = [proposal.route for proposal in proposals]
    raw = settings.model_dump(by_alias=True, exclude={"routes", "headers"}, exclude_unset=True)
    made = ToolSettings.model_validate({**raw, "routes": routes}, strict=False)
    made = made.model_copy(update={"headers": settings.headers})
    return config.model_copy(update={"tools": {**config.tools, tool: made}})


def _samples(file: Path | None) -> dict[str, Any]:
    from gateway.sandbox.trying import Sample

    if file is None:
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        return {
            str(route): Sample(
                params={str(k): str(v) for k, v in (sample.get("params") or {}).items()},
                body=sample.get("body"),
            )
            for route, sample in found.items()
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise Failed(f"{file} is not {{route: {{params: {{}}, body: ...}}}}: {error}") from None


def as_yaml(proposals: Sequence[Derived]) -> str:
    """``routes`` to paste under a tool; what has no way back, and what to look at, as comments."""
    lines = ["routes:"]
    for proposal in proposals:
        lines += [f"  # note: {note}" for note in proposal.notes]
        if proposal.why_not is not None:
            lines.append(f"  # no undo derived: {proposal.why_not}")
        item = yaml.safe_dump([dict(proposal.route)], sort_keys=False, width=1000)
        lines += [f"  {line}" for line in item.splitlines()]
    return "\n".join(lines) + "\n"


def _document(proposal: Derived) -> dict[str, Json]:
    return {
        "route": dict(proposal.route),
        "why_not": proposal.why_not,
        "notes": list(proposal.notes),
    }
