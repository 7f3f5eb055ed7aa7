"""Logs: one line per entry on standard error, so that standard output stays the command's own."""

from __future__ import annotations

import logging
import sys

import structlog

from gateway.cli.display import escaped
from gateway.config import TelemetrySettings


def log_to_standard_error(telemetry: TelemetrySettings) -> None:
    """Called once, before anything logs."""
    level = logging.getLevelNamesMapping()[telemetry.log_level.upper()]
    renderer = (
        structlog.processors.JSONRenderer()
        if telemetry.log_format == "json"
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer, _one_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
            _one_line,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "watchfiles", "aiosqlite", "asyncio"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def _one_line(logger: object, name: str, rendered: object) -> str:  # noqa: ARG001
    """One entry is one line, and nothing in it acts on a terminal."""
    return escaped(rendered)
