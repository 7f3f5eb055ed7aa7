"""The command line: parse, call, print.

Exit codes: 0; 1 refused or failed; 2 usage, or a configuration that is not valid.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from gateway.cli import (
    agents,
    approving,
    auditing,
    calling,
    connecting,
    freezing,
    local,
    policies,
    quarantine,
    resolving,
    servers,
    serving,
    snapshots,
    sources,
    tools,
)
from gateway.cli.display import ascii_json
from gateway.cli.logs import log_to_standard_error
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import Shell
from gateway.config import TelemetrySettings
from gateway.errors import ConfigInvalid, HoldfastError, PolicyInvalid

app = typer.Typer(
    name="holdfast",
    help="The tool gateway that lets agents act and lets people take it back. Remote commands "
    "read HOLDFAST_URL and HOLDFAST_ADMIN_TOKEN.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback with local variables would show tokens
    rich_markup_mode=None,
)
for _command in (
    serving.serve,
    local.demo,
    local.check,
    local.explain,
    freezing.freeze,
    freezing.unfreeze,
    freezing.freezes,
    calling.calls,
    calling.show,
    calling.revert,
    resolving.resolve,
    approving.approvals,
    approving.approve,
    approving.reject,
    connecting.connect,
    local.version,
):
    app.command()(_command)
app.add_typer(auditing.app, name="audit")
app.add_typer(policies.app, name="policy")
app.add_typer(agents.app, name="agent")
app.add_typer(tools.app, name="tools")
app.add_typer(servers.app, name="mcp")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(sources.app, name="source")
app.add_typer(quarantine.app, name="quarantine")


def main(arguments: Sequence[str] | None = None, shell: Shell | None = None) -> int:
    """Runs one command; the exit code."""
    shell = shell or Shell()
    log_to_standard_error(TelemetrySettings(log_level="warning"))
    command = typer.main.get_command(app)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command.main(args=given, prog_name="holdfast", obj=shell)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except Usage as wrong:
        shell.printer.complain(f"Usage: {wrong}")
        return 2
    except (ConfigInvalid, PolicyInvalid) as invalid:
        _tell_faults(shell, invalid, "--json" in given)
        return 2 if isinstance(invalid, ConfigInvalid) else 1
    except Failed as failed:
        if failed.problem is not None and "--json" in given:
            shell.printer.raw(ascii_json(failed.problem))
        else:
            shell.printer.complain(failed.detail)
        return 1
    except HoldfastError as error:
        shell.printer.complain(f"{error.reason}: {error.detail}")
        return 1
    return 0


def _tell_faults(shell: Shell, invalid: ConfigInvalid | PolicyInvalid, as_json: bool) -> None:
    faults = invalid.extra["faults"]
    if as_json:
        shell.document({"reason": invalid.reason, "detail": invalid.detail, "faults": faults})
        return
    for fault in faults:
        shell.printer.complain(f"{fault['file']}:{fault['line']}: {fault['message']}")
    if isinstance(invalid, ConfigInvalid) or not faults:  # the other detail repeats the first
        shell.printer.complain(invalid.detail)
