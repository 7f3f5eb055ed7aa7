"""Images must not be lost with what they protect."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.app import assemble, check, opened
from gateway.app.places import shared, shared_places
from gateway.config import Config
from gateway.config.tools import ToolSettings
from gateway.errors import ConfigInvalid
from gateway.upstreams.sql.sqlite.images import unpack
from tests.app.test_imaging import config, run


@pytest.mark.parametrize(
    ("data", "kept", "said"),
    [
        ("a/data.db", "a/images", "in the same folder"),
        ("a/data.db", "a/deep/er/images", "in the same folder"),
        ("a/data.db", "a", "in the same folder"),
        ("a/images/data.db", "a/images", "in the same folder"),
        ("a/images/deep/data.db", "a/images", "around"),
        ("a/data.db", "b/images", "on the same disk"),
        ("a/data.db", "ab/images", "on the same disk"),
    ],
)
def test_what_is_lost_together(tmp_path: Path, data: str, kept: str, said: str) -> None:
    (tmp_path / data).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / data).touch()
    why = shared(tmp_path / data, tmp_path / kept)
    assert why is not None
    assert said in why


def test_a_link_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
    assert shared(tmp_path / "data", tmp_path / "elsewhere" / "images") == "in the same folder"


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev,
    reason="there is only one file system here",
)
def test_another_disk_is_apart(tmp_path: Path) -> None:
    assert shared(tmp_path / "data.db", Path("/dev/shm/holdfast-images")) is None


def settings(home: Path, same_place: str) -> Config:
    return config(home, same_place=same_place)


async def test_it_is_refused_warned_about_or_allowed_as_configured(tmp_path: Path) -> None:
    refusing = settings(tmp_path, "refuse")
    with pytest.raises(ConfigInvalid, match="in the same folder as the data of shop"):
        async with opened(assemble(refusing)):
            pytest.fail("it opened")
    errors = [f for f in await check(refusing) if f.level == "error"]
    assert {f.message.split(" lies")[0] for f in errors} == {"store.url", "snapshots.path"}

    warned = [f.level for f in await check(settings(tmp_path, "warn")) if "lies" in f.message]
    assert warned == ["warning", "warning"]
    structlog.reset_defaults()  # whatever a test before this one has set up
    with capture_logs() as told:
        async with opened(assemble(settings(tmp_path, "warn"))):
            pass
    assert [entry["log_level"] for entry in told if entry["event"] == "images.endangered"] == [
        "warning",
        "warning",
    ]

    assert not any("lies" in f.message for f in await check(settings(tmp_path, "allow")))


@pytest.mark.parametrize(
    ("base_url", "shared_with"),
    [
        ("http://objects.test:9000", True),
        ("http://objects.test:9001", False),
        ("https://vault.s3.amazonaws.com", True),
        ("https://s3.amazonaws.com/vault", True),
        ("https://crm.test/api", False),
    ],
)
async def test_a_tool_that_reaches_the_images_is_found(
    tmp_path: Path, base_url: str, shared_with: bool
) -> None:
    made = config(tmp_path, url="s3://vault/p", endpoint="http://objects.test:9000")
    tool = ToolSettings.model_construct(base_url=base_url)
    found = await shared_places(made.model_copy(update={"tools": {"crm": tool}}), {})
    assert [finding.about for finding in found] == (["tool crm"] if shared_with else [])


async def test_a_source_that_is_not_here_shares_no_place(tmp_path: Path) -> None:
    class Elsewhere:
        async def place(self) -> Path | None:
            return None

    assert (
        await shared_places(settings(tmp_path, "refuse"), {"a": Elsewhere(), "b": object()}) == []
    )


@pytest.mark.parametrize(
    ("same_place", "level"), [("refuse", "error"), ("warn", "warning"), ("allow", None)]
)
async def test_images_inside_the_target_are_told_of_although_they_were_asked_for(
    tmp_path: Path, same_place: str, level: str | None
) -> None:
    made = settings(tmp_path, same_place)
    source = made.sources["shop"].model_copy(update={"images_schema": "holdfast_images"})
    found = await shared_places(made.model_copy(update={"sources": {"shop": source}}), {})
    assert [f.level for f in found] == ([] if level is None else [level])
    assert all("images_schema" in f.message for f in found)


async def test_when_the_target_is_gone_every_row_of_the_way_back_is_there(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    home.mkdir()
    target.mkdir()
    text = config(home)
    source = text.sources["shop"].model_copy(
        update={"url": type(text.sources["shop"].url)(f"sqlite:///{target}/shop.db")}
    )
    moved = text.model_copy(update={"sources": {"shop": source}})
    parts = assemble(moved)
    async with opened(parts):
        call = await run(parts, "DELETE FROM customers WHERE id <= 900")
    shutil.rmtree(target)
    target.mkdir()
    parts = assemble(moved)
    async with opened(parts):
        undo = await parts.store.undo_of(call)
    assert undo is not None
    image = b"".join(parts.store._images.read(undo))
    tables = unpack(undo.manifest["tables"], image)
    [customers] = [t for t in tables if t.shape.name == "customers"]
    assert len([c for c in customers.changes if c.before is not None]) == 900
