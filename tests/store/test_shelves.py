"""A folder of image files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.errors import ImageDamaged
from gateway.store.shelves import FolderShelf


@pytest.fixture
def shelf(tmp_path: Path) -> FolderShelf:
    made = FolderShelf(tmp_path / "images")
    made.open()
    return made


def test_folder_and_files_are_for_the_gateway_alone(shelf: FolderShelf, tmp_path: Path) -> None:
    slot = shelf.slot()
    slot.write(b"abc")
    slot.commit()
    slot.close(keep=True)
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "images" / slot.name).stat().st_mode) == 0o600
    assert b"".join(shelf.read(slot.name)) == b"abc"


def test_a_file_has_its_name_only_when_it_is_whole(shelf: FolderShelf) -> None:
    slot = shelf.slot()
    slot.write(b"abc")
    assert not shelf.holds(slot.name)
    slot.commit()
    assert shelf.holds(slot.name)
    slot.close(keep=False)
    assert not shelf.holds(slot.name)


def test_what_is_written_now_is_not_idle(shelf: FolderShelf) -> None:
    slot = shelf.slot()
    assert shelf.idle() == []
    slot.commit()
    assert shelf.idle() == []
    slot.close(keep=True)
    assert shelf.idle() == [slot.name]


@pytest.mark.parametrize("name", ["../image-x.zst", "image-x.zst/../y", "/etc/passwd", "x.zst", ""])
def test_a_name_never_leads_out_of_the_folder(shelf: FolderShelf, name: str) -> None:
    with pytest.raises(ImageDamaged):
        next(shelf.read(name))


def test_removing_twice_is_no_error(shelf: FolderShelf) -> None:
    slot = shelf.slot()
    slot.commit()
    slot.close(keep=True)
    shelf.remove(slot.name)
    shelf.remove(slot.name)
    with pytest.raises(ImageDamaged):
        next(shelf.read(slot.name))
