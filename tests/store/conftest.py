"""Every contract test runs against both stores; every statement gets exactly its parameters."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.interfaces import Store
from gateway.store.queries import queries
from gateway.store.sqlite_tables import SqliteTables
from tests.fixtures.fakes import FakeClock
from tests.fixtures.object_store import object_store  # noqa: F401 - a fixture
from tests.fixtures.stores import memory_store, sqlite_store

PARAMETERS = {name: set(re.findall(r":(\w+)", text)) for name, text in queries().items()}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Store]:
    made = (memory_store if request.param == "memory" else sqlite_store)(tmp_path, clock)
    await made.open()
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def exact_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite ignores a named parameter that the statement does not have: here it is a fault."""
    run = SqliteTables._run

    def strict(self: SqliteTables, query: str, cells: Mapping[str, Any]) -> Any:
        spare = set(cells) - PARAMETERS[query]
        if query.startswith("calls"):
            spare -= {"session", "agent"}
        assert not spare, f"{query} has no {spare}"
        return run(self, query, cells)

    monkeypatch.setattr(SqliteTables, "_run", strict)
