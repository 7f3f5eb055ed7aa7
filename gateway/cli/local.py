"""check, explain, demo, version: what runs here, without a gateway.

The whole gateway is imported by the commands that need it: the others start at once.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.arguments import CONFIG, AsJson, ConfigFile
from gateway.cli.calling import flat
from gateway.cli.remote import Usage
from gateway.cli.shell import Shell, shell_of
from gateway.config import load, with_tokens
from gateway.errors import ConfigInvalid, PolicyInvalid
from gateway.model import Finding, Json


def check(context: typer.Context, config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Validate configuration, policies and connections, and print every fault."""
    from gateway import app

    shell = shell_of(context)
    run = with_tokens(shell.environ)
    findings: list[dict[str, Json]] = []
    try:
        settings = load(config, run.environ)
        findings += [_finding(f) for f in asyncio.run(app.check(settings))]
    except (ConfigInvalid, PolicyInvalid) as invalid:
        about = "config" if isinstance(invalid, ConfigInvalid) else "policy"
        findings += [
            {"level": "error", "about": about, **fault} for fault in invalid.extra["faults"]
        ]
    good = not any(f["level"] == "error" for f in findings)
    if as_json:
        shell.document({"ok": good, "findings": findings})
    else:
        _tell(shell, findings, good)
    if not good:
        raise typer.Exit(1)


def _finding(finding: Finding) -> dict[str, Json]:
    return {"level": finding.level, "about": finding.about, "message": finding.message}


def _tell(shell: Shell, findings: list[dict[str, Json]], good: bool) -> None:
    for found in findings:
        where = f"{found['file']}:{found['line']}" if "file" in found else found["about"]
        shell.printer.line(f"{found['level']}: {where}: {found['message']}")
    shell.printer.line("Everything is in order." if good else "Not in order.")


def explain(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="The SQL text.")],
    source: Annotated[str, typer.Option("--source", help="The source it would run on.")],
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what a text would do and what policy says. Executes nothing."""
    from gateway import app

    shell = shell_of(context)
    settings = load(config, with_tokens(shell.environ).environ)
    if source not in settings.sources:
        known = ", ".join(sorted(settings.sources)) or "none"
        raise Usage(f"There is no source {source!r}; there are: {known}.")
    found = asyncio.run(app.explain(settings, source, sql))
    if as_json:
        shell.document(found)
    else:
        shell.printer.fields(flat(found))


def demo(context: typer.Context, config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Replay the incident of July 2025 against a private copy, and take it back."""
    shell = shell_of(context)
    settings = load(config, with_tokens(shell.environ).environ)
    from gateway.demo import incident

    report = asyncio.run(incident.replay(settings))
    if as_json:
        shell.document(report.as_json())
    else:
        shell.printer.table(
            ("STEP", "THE AGENT TRIED", "WHAT IT MET", "AS EXPECTED"),
            [(s.title, s.tried, s.met, s.expected) for s in report.steps],
        )
        shell.printer.line()
        shell.printer.table(
            ("TABLE", "ROWS BEFORE", "ROWS CHANGED BY THE AGENT", "ROWS AFTER", "EQUAL"),
            [(t.name, t.before, t.disturbed, t.after, t.equal) for t in report.tables],
        )
        shell.printer.line()
        shell.printer.line(report.verdict)
    if not report.good:
        raise typer.Exit(1)


def version(context: typer.Context, as_json: AsJson = False) -> None:
    """Print the version."""
    shell = shell_of(context)
    if as_json:
        shell.document({"version": __version__})
    else:
        shell.printer.line(f"holdfast {__version__}")
