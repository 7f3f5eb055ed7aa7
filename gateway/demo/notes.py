"""The demo MCP server ``notes``: a few notes that agents read, write and delete, over stdio.

Run by the gateway (``python -m gateway.demo.notes``). Notes are kept in ``notes.db`` under
``HOLDFAST_HOME`` (``var`` by default), and are seeded when the file does not exist.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

SEED: Mapping[str, str] = {
    "welcome": "Agents may change these notes. People can take every change back.",
    "release-4.2": "Freeze from Friday 18:00. Check list: schema, invoices, mails.",
    "on-call": "Ada until Wednesday, then Grace.",
    "ideas": "Show the undo plan next to the approval.",
    "customers": "Ask customer 7 about the new plan.",
}
_SCHEMA = "CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID"
_ID: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 100}
_NOTE: Mapping[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "text": {"type": "string"}},
    "required": ["id", "text"],
}


class NoSuchNote(LookupError):
    pass


class Notes:
    """The notes in the SQLite file ``path``, which is made and seeded if it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as db, db:
                db.execute(_SCHEMA)
                db.executemany("INSERT INTO notes VALUES (?, ?)", SEED.items())

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)

    def list(self) -> dict[str, Any]:
        with closing(self._connect()) as db:
            ids = [id for (id,) in db.execute("SELECT id FROM notes ORDER BY id")]
        return {"notes": ids}

    def read(self, id: str) -> dict[str, Any]:
        """Raises ``NoSuchNote``."""
        with closing(self._connect()) as db:
            row = db.execute("SELECT text FROM notes WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise NoSuchNote(id)
        return {"id": id, "text": row[0]}

    def write(self, id: str, text: str) -> dict[str, Any]:
        """Makes the note or replaces its text; ``created`` tells which."""
        with closing(self._connect()) as db, db:
            known = db.execute("SELECT 1 FROM notes WHERE id = ?", (id,)).fetchone()
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (id, text))
        return {"id": id, "created": known is None}

    def delete(self, id: str) -> dict[str, Any]:
        """Raises ``NoSuchNote``."""
        with closing(self._connect()) as db, db:
            if db.execute("DELETE FROM notes WHERE id = ?", (id,)).rowcount == 0:
                raise NoSuchNote(id)
        return {"id": id, "deleted": True}

    def search(self, words: str) -> dict[str, Any]:
        with closing(self._connect()) as db:
            found = db.execute(
                "SELECT id, text FROM notes WHERE instr(lower(text), lower(?)) ORDER BY id",
                (words,),
            ).fetchall()
        return {"notes": [{"id": id, "text": text} for id, text in found]}


def _tool(
    name: str,
    description: str,
    properties: Mapping[str, Any],
    output: Mapping[str, Any],
    *,
    reads: bool = False,
    destroys: bool = False,
) -> types.Tool:
    return types.Tool(
        name=name,
        description=description,
        input_schema={
            "type": "object",
            "properties": dict(properties),
            "required": list(properties),
            "additionalProperties": False,
        },
        output_schema=dict(output),
        annotations=types.ToolAnnotations(read_only_hint=reads, destructive_hint=destroys),
    )


TOOLS = (
    _tool(
        "list_notes",
        "Names every note.",
        {},
        {
            "type": "object",
            "properties": {"notes": {"type": "array", "items": {"type": "string"}}},
            "required": ["notes"],
        },
        reads=True,
    ),
    _tool("read_note", "Reads one note.", {"id": _ID}, _NOTE, reads=True),
    _tool(
        "search_notes",
        "Finds the notes whose text has these words in a row.",
        {"words": {"type": "string", "minLength": 1, "maxLength": 200}},
        {
            "type": "object",
            "properties": {"notes": {"type": "array", "items": _NOTE}},
            "required": ["notes"],
        },
        reads=True,
    ),
    _tool(
        "write_note",
        "Makes a note, or replaces the text of one.",
        {"id": _ID, "text": {"type": "string", "maxLength": 100_000}},
        {
            "type": "object",
            "properties": {"id": {"type": "string"}, "created": {"type": "boolean"}},
            "required": ["id", "created"],
        },
        destroys=True,
    ),
    _tool(
        "delete_note",
        "Deletes a note.",
        {"id": _ID},
        {
            "type": "object",
            "properties": {"id": {"type": "string"}, "deleted": {"type": "boolean"}},
            "required": ["id", "deleted"],
        },
        destroys=True,
    ),
)


def server(notes: Notes) -> Server[Any]:
    """The MCP server over ``notes``; it serves every protocol revision that the SDK knows."""
    acts: Mapping[str, Callable[..., dict[str, Any]]] = {
        "list_notes": notes.list,
        "read_note": notes.read,
        "search_notes": notes.search,
        "write_note": notes.write,
        "delete_note": notes.delete,
    }

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(TOOLS))

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        act = acts.get(params.name)
        if act is None:
            return _failed(f"There is no tool {params.name!r}.")
        try:
            done = act(**(params.arguments or {}))
        except NoSuchNote as error:
            return _failed(f"There is no note {str(error)!r}.")
        except TypeError:
            return _failed(f"{params.name} does not take these arguments.")
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=_told(done))], structured_content=done
        )

    return Server("notes", version="1.0.0", on_list_tools=list_tools, on_call_tool=call_tool)


def _told(done: Mapping[str, Any]) -> str:
    if "text" in done:
        return str(done["text"])
    if "notes" in done:
        return "\n".join(
            n if isinstance(n, str) else f"{n['id']}: {n['text']}" for n in done["notes"]
        )
    verb = "deleted" if done.get("deleted") else "made" if done.get("created") else "replaced"
    return f"Note {done['id']} was {verb}."


def _failed(why: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=why)], is_error=True)


async def _serve(path: Path) -> None:
    served = server(Notes(path))
    async with stdio_server() as (reading, writing):
        await served.run(reading, writing, served.create_initialization_options())


def main(arguments: list[str]) -> None:
    """``arguments``: the file of the notes, ``var/notes.db`` by default."""
    asyncio.run(_serve(Path(arguments[0] if arguments else "var/notes.db")))


if __name__ == "__main__":
    main(sys.argv[1:])
