from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.cli.logs import log_to_standard_error
from gateway.config import TelemetrySettings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


HOSTILE = 'bad\n{"seq": 1}\r\x1b[2J\u202e'


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_entry_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    log_to_standard_error(TelemetrySettings.model_validate({"log_format": form}))
    structlog.get_logger("holdfast").info("event", sql=HOSTILE)
    logging.getLogger("other").warning("stdlib %s", HOSTILE)
    got = capsys.readouterr()
    assert got.out == ""
    lines = got.err.splitlines()
    assert len(lines) == 2
    assert not set("\x1b\r\u202e") & set(got.err)
    if form == "json":
        assert json.loads(lines[0])["sql"] == HOSTILE
        assert json.loads(lines[1])["event"] == f"stdlib {HOSTILE}"


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_standard_error(TelemetrySettings(log_level="error"))
    structlog.get_logger("holdfast").warning("event")
    logging.getLogger("other").warning("event")
    assert capsys.readouterr().err == ""
