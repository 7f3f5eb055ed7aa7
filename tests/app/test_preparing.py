from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import prepare
from gateway.errors import UpstreamError
from tests.app.test_imaging import config


async def test_a_source_is_asked_by_name(tmp_path: Path) -> None:
    [piece] = await prepare(config(tmp_path), "shop", apply=False)
    assert piece.state == "there"


async def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    found = config(tmp_path)
    source = found.sources["shop"]
    nowhere = source.model_copy(
        update={"url": type(source.url)("postgresql://a@127.0.0.1:1/x"), "seed": None}
    )
    moved = found.model_copy(update={"sources": {"shop": nowhere}})
    with pytest.raises(UpstreamError):
        await prepare(moved, "shop", apply=True)
