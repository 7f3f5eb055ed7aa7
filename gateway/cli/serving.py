"""serve. The whole gateway is imported by the command alone: others start at once."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
import uvicorn

from gateway.cli.arguments import CONFIG, ConfigFile
from gateway.cli.display import Printer
from gateway.cli.logs import log_to_standard_error
from gateway.cli.protocol import Refused, protocol
from gateway.cli.remote import Failed, Usage
from gateway.cli.shell import shell_of
from gateway.config import (
    ADMIN_TOKEN,
    AGENT_TOKEN,
    Config,
    RunEnvironment,
    load,
    with_tokens,
)

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

if TYPE_CHECKING:
    from gateway.app import Parts


def serve(
    context: typer.Context,
    config: ConfigFile = CONFIG,
    host: Annotated[str | None, typer.Option("--host", help="Instead of server.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Instead of server.port.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
) -> None:
    """Run the gateway until Ctrl-C."""
    from gateway.app import assemble

    if workers > 1:
        raise Usage("--workers above 1 needs the PostgreSQL store, which this version lacks.")
    shell = shell_of(context)
    run = with_tokens(shell.environ)
    settings = load(config, run.environ)
    changed = {"host": host or settings.server.host, "port": port}
    if port is None:
        changed["port"] = settings.server.port
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=changed)})
    log_to_standard_error(settings.telemetry)
    banner = Banner(config=settings, run=run, printer=shell.printer)
    _run(assemble(settings), banner)


def _run(parts: Parts, banner: Banner) -> None:
    """Serves until a signal. Raises what kept the gateway from starting."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)
    server = parts.config.server
    with (
        suppress(_Stopped),
        _listening(server.host, server.port) as listening,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        runner.run(_serve(parts, banner, listening))


async def _serve(parts: Parts, banner: Banner, listening: socket.socket) -> None:
    from gateway.app import application, opened

    settings = parts.config.server
    refused = Refused(parts.telemetry.refused)
    # Opened here and not in uvicorn's lifespan, which would log a failure and lose it.
    async with opened(parts):
        # What is there now stays; looking through it again and again is a tenth of a busy gateway.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_EVERY)
        server = _Server(
            uvicorn.Config(
                application(parts),
                http=protocol(settings.header_deadline_s, refused),
                ws="none",
                loop="none",
                lifespan="off",
                server_header=False,
                access_log=False,
                proxy_headers=False,
                log_config=None,
                limit_concurrency=settings.max_connections,
                timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            ),
            banner,
        )
        with suppress(_Stopped):
            await server.serve(sockets=[listening])
        refused.tell()


# Objects that may be added before the collector looks for cycles: those of some dozen calls.
GARBAGE_EVERY = 20_000


class _Stopped(Exception):
    pass


def _stopped(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    # The server has its own handlers while it runs; it raises the signal again once it is done.
    raise _Stopped


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise Failed(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, banner: Banner) -> None:
        super().__init__(config)
        self._banner = banner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self._banner.show(sockets[0].getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """What a person needs to begin, once, on standard output. Tokens that came from the
    environment are shown for the demo data only: elsewhere output ends up in logs."""

    config: Config
    run: RunEnvironment
    printer: Printer

    def show(self, port: int) -> None:
        host = self.config.server.host
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
        if ":" in reachable and not reachable.startswith("["):
            reachable = f"[{reachable}]"
        url = f"http://{reachable}:{port}"
        self.printer.raw(f"Holdfast listens on {url}")
        agent, admin = self._token(AGENT_TOKEN), self._token(ADMIN_TOKEN)
        self.printer.raw(f"  agent token: {agent}")
        self.printer.raw(f"  admin token: {admin}")
        if self.run.made:
            self.printer.raw("  Tokens made up here are good for this run only; set")
            self.printer.raw(f"  {' and '.join(self.run.made)} to keep them.")
        seeded = [name for name, source in self.config.sources.items() if source.seed == "shop"]
        if seeded and self.config.identity.agents:
            name = self.config.identity.agents[0].name
            self.printer.raw(_first_calls(url, seeded[0], name, agent, admin))
        self.printer.raw("Ctrl-C stops it.")

    def _token(self, variable: str) -> str:
        demo = any(source.seed for source in self.config.sources.values())
        if demo or variable in self.run.made:
            return self.run.environ[variable]
        return f"${variable}"


def _first_calls(url: str, source: str, name: str, agent: str, admin: str) -> str:
    def sql(text: str) -> str:
        return (
            f"  curl -s {url}/sql/{source} -H 'Authorization: Bearer {agent}' \\\n"
            f"    -H 'Content-Type: application/json' -d '{{\"sql\": \"{text}\"}}'\n"
        )

    return (
        "\nTry in another terminal:\n"
        "# a read\n"
        + sql("SELECT plan, count(*) AS customers FROM customers GROUP BY plan")
        + "# refused: a destructive statement without bounds\n"
        + sql("DELETE FROM customers")
        + "# allowed: one customer, with the orders and invoices that cascade\n"
        + sql("DELETE FROM customers WHERE id = 7")
        + "# and taken back: everything the agent did\n"
        f"  curl -s {url}/admin/reverts -H 'Authorization: Bearer {admin}' \\\n"
        "    -H 'Content-Type: application/json' -d "
        f'\'{{"agent": "{name}", "since": "2000-01-01T00:00:00Z"}}\'\n'
    )
