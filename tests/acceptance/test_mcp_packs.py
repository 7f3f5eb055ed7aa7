"""Handler packs against the real servers: done through the gateway, looked at, taken back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fixtures.mcp.npm import node_module, node_program
from tests.fixtures.mcp.served import Served, conflict, served, tree, whole

Json = dict[str, Any]
ASIDE = ".undone-by-holdfast"


# --- files


@asynccontextmanager
async def files(tmp_path: Path) -> AsyncIterator[tuple[Served, Path]]:
    root = (tmp_path / "files").resolve()
    root.mkdir()
    program = str(node_module("@modelcontextprotocol/server-filesystem/dist/index.js"))
    server = {"command": [node_program(), program, str(root)], "pack": "filesystem"}
    async with served(tmp_path, server) as it:
        yield it, root


async def test_files_come_back_byte_by_byte(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        kept, moved = root / "kept.txt", root / "moved.txt"
        kept.write_bytes("\ufeffone\r\ntwo ü\r\n\0end".encode())
        kept.chmod(0o640)
        moved.write_bytes(b"move me")
        (root / "folder").mkdir()
        (root / "folder" / "inside").write_bytes(b"\xff\xfe not text")
        stood = tree(root)
        calls = [
            await it.done("write_file", path=str(kept), content="gone"),
            await it.done("move_file", source=str(moved), destination=str(root / "there.txt")),
            await it.done("move_file", source=str(root / "folder"), destination=str(root / "f2")),
        ]
        assert kept.read_bytes() == b"gone"
        assert tree(root / "f2") == {"inside": b"\xff\xfe not text"}
        for call in reversed(calls):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert tree(root) == stood
        assert kept.stat().st_mode & 0o777 == 0o640
        edits = [{"oldText": "two ü", "newText": "three"}]
        call = await it.done("edit_file", path=str(kept), edits=edits)
        assert b"three" in kept.read_bytes()
        assert b"\r" not in kept.read_bytes()
        assert whole(await it.reverted(call))
        assert tree(root) == stood


async def test_what_was_not_there_is_set_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        new, folder, old = root / "new.txt", root / "folder", root / "old"
        aside = root / f"new.txt{ASIDE}"
        old.mkdir()
        written = await it.done("write_file", path=str(new), content="mine")
        made = await it.done("create_directory", path=str(folder))
        assert folder.is_dir()
        again = await it.done("create_directory", path=str(old))
        for call in (again, made, written):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert tree(root) == {f"new.txt{ASIDE}": b"mine", f"folder{ASIDE}": None, "old": None}
        # The name is taken now: a second way back fails, and the file stays.
        call = await it.done("write_file", path=str(new), content="second")
        outcome = await it.reverted(call)
        assert outcome["state"] != "reverted"
        assert (new.read_bytes(), aside.read_bytes()) == (b"second", b"mine")


async def test_what_could_not_come_back_is_not_done(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        (root / "image").write_bytes(b"\x89PNG\xff\xfe")
        stood = tree(root)
        assert await it.refused("write_file", path=str(root / "image"), content="") == (
            "undo.unavailable"
        )
        deep = str(root / "a" / "b")
        assert await it.refused("create_directory", path=deep) == "undo.unavailable"
        assert tree(root) == stood


async def test_what_somebody_wrote_in_a_file_since_stays(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        path = root / "shared.txt"
        path.write_bytes(b"before")
        call = await it.done("write_file", path=str(path), content="agent")
        path.write_bytes(b"somebody")
        outcome = await it.reverted(call)
        assert conflict(outcome), outcome
        assert path.read_bytes() == b"somebody"
        moved = await it.done("move_file", source=str(path), destination=str(root / "to"))
        path.write_bytes(b"a new one")
        assert conflict(await it.reverted(moved))
        assert tree(root) == {"shared.txt": b"a new one", "to": b"somebody"}


# --- a graph


ENTITIES = [
    {"name": "Ada", "entityType": "person", "observations": ["a", "b", "c"]},
    {"name": "Bob", "entityType": "person", "observations": []},
]
RELATIONS = [
    {"from": "Ada", "to": "Bob", "relationType": "knows"},
    {"from": "Bob", "to": "Ada", "relationType": "helps"},
    {"from": "Bob", "to": "Cyd", "relationType": "waits for"},
]


def graph_text(entities: list[Json], relations: list[Json]) -> str:
    lines = [{"type": "entity", **each} for each in entities]
    lines += [{"type": "relation", **each} for each in relations]
    return "\n".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines)


@asynccontextmanager
async def graph(tmp_path: Path) -> AsyncIterator[tuple[Served, Path]]:
    file = tmp_path / "graph.jsonl"
    file.write_text(graph_text(ENTITIES, RELATIONS))
    program = str(node_module("@modelcontextprotocol/server-memory/dist/index.js"))
    server = {
        "command": [node_program(), program],
        "env": {"MEMORY_FILE_PATH": str(file)},
        "pack": "memory",
    }
    async with served(tmp_path, server) as it:
        yield it, file


async def test_a_graph_comes_back_byte_by_byte(tmp_path: Path) -> None:
    dee = {"name": "Dee", "entityType": "person", "observations": ["new"]}
    new = {"from": "Ada", "to": "Dee", "relationType": "met"}
    async with graph(tmp_path) as (it, file):
        stood = file.read_text()
        calls = [
            # One is there already, and must be there afterwards.
            await it.done("create_entities", entities=[ENTITIES[1], dee]),
            await it.done("create_relations", relations=[RELATIONS[0], new]),
            await it.done(
                "add_observations", observations=[{"entityName": "Ada", "contents": ["b", "d"]}]
            ),
            await it.done(
                "delete_observations", deletions=[{"entityName": "Ada", "observations": ["a"]}]
            ),
            await it.done("delete_relations", relations=[RELATIONS[1]]),
        ]
        shown = file.read_text()
        assert all(text in shown for text in ('"observations":["b","c","d"]', '"Dee"', '"met"'))
        assert "helps" not in shown
        for call in reversed(calls):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert file.read_text() == stood


async def test_deleted_entities_come_back_with_their_relations(tmp_path: Path) -> None:
    async with graph(tmp_path) as (it, file):
        call = await it.done("delete_entities", entityNames=["Bob"])
        assert file.read_text() == graph_text(ENTITIES[:1], [])
        outcome = await it.reverted(call)
        assert whole(outcome), outcome
        assert file.read_text() == graph_text(ENTITIES, RELATIONS)
        # The relation to Cyd would go, and the server would not show that it was there.
        assert await it.refused("delete_entities", entityNames=["Cyd"]) == "undo.unavailable"
        # And an entity that relations have waited for takes none of them along.
        cyd = {"name": "Cyd", "entityType": "person", "observations": []}
        made = await it.done("create_entities", entities=[cyd])
        assert whole(await it.reverted(made))
        assert file.read_text() == graph_text(ENTITIES, RELATIONS)


async def test_what_somebody_wrote_in_a_graph_since_stays(tmp_path: Path) -> None:
    async with graph(tmp_path) as (it, file):
        call = await it.done("delete_entities", entityNames=["Bob"])
        changed = graph_text([ENTITIES[0], {**ENTITIES[1], "observations": ["other"]}], [])
        file.write_text(changed)
        assert conflict(await it.reverted(call))
        assert file.read_text() == changed
