from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import pytest
from mcp import Client, StdioServerParameters

from gateway.demo.notes import SEED, TOOLS


def notes_server(folder: Path) -> StdioServerParameters:
    arguments = ["-m", "gateway.demo.notes", str(folder / "notes.db")]
    return StdioServerParameters(command=sys.executable, args=arguments)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_deleted_note_comes_back_by_writing_it(
    tmp_path: Path, mode: Literal["auto", "legacy"]
) -> None:
    async with Client(notes_server(tmp_path), mode=mode) as client:
        before = (await client.call_tool("read_note", {"id": "ideas"})).structured_content
        assert before == {"id": "ideas", "text": SEED["ideas"]}
        deleted = await client.call_tool("delete_note", {"id": "ideas"})
        assert deleted.structured_content == {"id": "ideas", "deleted": True}
        assert (await client.call_tool("read_note", {"id": "ideas"})).is_error
        written = await client.call_tool("write_note", {"id": "ideas", "text": before["text"]})
        assert written.structured_content == {"id": "ideas", "created": True}
        assert (await client.call_tool("read_note", {"id": "ideas"})).structured_content == before


async def test_tools_are_listed_and_bad_calls_are_errors(tmp_path: Path) -> None:
    async with Client(notes_server(tmp_path)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [t.name for t in TOOLS]
        listed = (await client.call_tool("list_notes", {})).structured_content
        assert listed == {"notes": sorted(SEED)}
        found = (await client.call_tool("search_notes", {"words": "GRACE"})).structured_content
        assert [note["id"] for note in found["notes"]] == ["on-call"]
        assert (await client.call_tool("read_note", {"name": "ideas"})).is_error
        assert (await client.call_tool("drop_notes", {})).is_error
