"""What a command works with; tests hand in their own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

import httpx
import typer
from rich.console import Console

from gateway.cli.display import Printer, ascii_json
from gateway.cli.remote import Answer, Remote
from gateway.config import ClientSettings, process_environment
from gateway.model import Json


def _printer() -> Printer:
    return Printer(_console(sys.stdout), _console(sys.stderr))


def _console(file: TextIO) -> Console:
    # What goes into a pipe or a file is not folded.
    return Console(file=file, width=None if file.isatty() else 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    environ: Mapping[str, str] = field(default_factory=process_environment)
    transport: httpx.BaseTransport | None = None
    printer: Printer = field(default_factory=_printer)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @contextmanager
    def remote(self) -> Iterator[Remote]:
        remote = Remote(ClientSettings.read(self.environ), self.transport)
        try:
            yield remote
        finally:
            remote.close()

    def json(self, answer: Answer) -> None:
        self.printer.raw(ascii_json(answer.text or "null"))

    def document(self, value: Json) -> None:
        """JSON of our own, where no single answer of the API would do."""
        self.printer.raw(json.dumps(value))


def shell_of(context: typer.Context) -> Shell:
    shell = context.obj
    assert isinstance(shell, Shell)
    return shell
