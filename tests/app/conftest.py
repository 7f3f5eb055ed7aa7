from __future__ import annotations

from tests.fixtures.object_store import object_store  # noqa: F401 - a fixture
