"""The demo HTTP tool ``crm``: customers with ETags, and mails that cannot be unsent.

``serve: crm`` of a tool in the configuration starts it in a process of its own
(``python -m gateway.demo.crm``); it ends when its standard input closes, so it never outlives the
gateway. Its data stand in one SQLite file, seeded when it does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

OPENAPI = Path(__file__).with_name("crm.openapi.json")
CUSTOMERS = 40
PAGE = 100
PLANS = ("free", "pro", "enterprise")
FIELDS = ("name", "email", "plan")
_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Ken", "Radia")
_SCHEMA = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  email TEXT NOT NULL,
  plan TEXT NOT NULL
) STRICT;
CREATE TABLE emails (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  recipient TEXT NOT NULL,
  subject TEXT NOT NULL
) STRICT;
CREATE TABLE answered (key TEXT PRIMARY KEY, status INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
"""


class Refused(Exception):
    """An answer other than success, as problem+json."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title


class Crm:
    """The tool's data in the SQLite file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.opened() as db:
                db.executescript(_SCHEMA)
                db.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", map(_seeded, _IDS))

    @contextlib.contextmanager
    def opened(self) -> Any:
        """One transaction."""
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    def customer(self, id: int) -> dict[str, Any]:
        with self.opened() as db:
            return _found(db, id)


_IDS = range(1, CUSTOMERS + 1)


def _seeded(id: int) -> tuple[int, str, str, str]:
    name = f"{_NAMES[id % len(_NAMES)]} {id}"
    return id, name, f"{name.lower().replace(' ', '.')}@example.com", PLANS[id % len(PLANS)]


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(("id", *FIELDS), row, strict=True))


def _found(db: sqlite3.Connection, id: int) -> dict[str, Any]:
    row = db.execute("SELECT id, name, email, plan FROM customers WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise Refused(404, f"There is no customer {id}.")
    return _shown(row)


def etag(customer: Mapping[str, Any]) -> str:
    text = json.dumps(dict(customer), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def _checked(given: Any, *, whole: bool) -> dict[str, str]:
    if not isinstance(given, dict):
        raise Refused(400, "The body must be an object.")
    fields = {name: given[name] for name in FIELDS if name in given}
    strange = sorted(set(given) - {"id", *FIELDS})
    if strange or (whole and len(fields) < len(FIELDS)):
        raise Refused(400, f"A customer has {', '.join(FIELDS)} and nothing else.")
    if any(not isinstance(value, str) or not value for value in fields.values()):
        raise Refused(400, "Every field is a text.")
    if fields.get("plan", PLANS[0]) not in PLANS:
        raise Refused(400, f"plan is one of {', '.join(PLANS)}.")
    return fields


def _matching(request: Request, current: Mapping[str, Any] | None) -> None:
    wanted = request.headers.get("If-Match")
    if wanted is not None and (current is None or wanted not in ("*", etag(current))):
        raise Refused(412, "The customer changed since it was read.")
    if request.headers.get("If-None-Match") == "*" and current is not None:
        raise Refused(412, "The customer exists.")


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Refused(400, "The body is not JSON.") from None


def _one(customer: Mapping[str, Any], status: int = 200) -> Response:
    where = {"ETag": etag(customer)}
    if status == 201:
        where["Location"] = f"/customers/{customer['id']}"
    return JSONResponse(dict(customer), status, where)


async def list_customers(crm: Crm, request: Request) -> Response:
    plan = request.query_params.get("plan")
    try:
        after = int(request.query_params.get("after", 0))
    except ValueError:
        raise Refused(400, "after is the id of a customer.") from None
    with crm.opened() as db:
        rows = db.execute(
            "SELECT id, name, email, plan FROM customers "
            "WHERE id > ? AND (?2 IS NULL OR plan = ?2) ORDER BY id LIMIT ?3",
            (after, plan, PAGE),
        ).fetchall()
    return JSONResponse({"customers": [_shown(row) for row in rows]})


async def make_customer(crm: Crm, request: Request) -> Response:
    fields = _checked(await _body(request), whole=True)
    key = request.headers.get("Idempotency-Key")
    with crm.opened() as db:
        told = db.execute("SELECT status, body FROM answered WHERE key = ?", (key,)).fetchone()
        if told is not None:
            return _one(json.loads(told[1]), told[0])
        made = db.execute(
            "INSERT INTO customers (name, email, plan) VALUES (:name, :email, :plan)", fields
        )
        customer = {"id": made.lastrowid, **fields}
        if key is not None:
            db.execute("INSERT INTO answered VALUES (?, 201, ?)", (key, json.dumps(customer)))
    return _one(customer, 201)


async def read_customer(crm: Crm, request: Request) -> Response:
    return _one(crm.customer(request.path_params["id"]))


async def put_customer(crm: Crm, request: Request) -> Response:
    """Replaces the customer, or makes one with this id."""
    id, fields = request.path_params["id"], _checked(await _body(request), whole=True)
    with crm.opened() as db:
        try:
            current: dict[str, Any] | None = _found(db, id)
        except Refused:
            current = None
        _matching(request, current)
        db.execute(
            "INSERT INTO customers VALUES (:id, :name, :email, :plan) ON CONFLICT (id) DO UPDATE "
            "SET name = excluded.name, email = excluded.email, plan = excluded.plan",
            {"id": id, **fields},
        )
    return _one({"id": id, **fields}, 201 if current is None else 200)


async def patch_customer(crm: Crm, request: Request) -> Response:
    id, fields = request.path_params["id"], _checked(await _body(request), whole=False)
    with crm.opened() as db:
        current = _found(db, id)
        _matching(request, current)
        changed = {**current, **fields}
        db.execute(
            "UPDATE customers SET name = :name, email = :email, plan = :plan WHERE id = :id",
            changed,
        )
    return _one(changed)


async def delete_customer(crm: Crm, request: Request) -> Response:
    id = request.path_params["id"]
    with crm.opened() as db:
        _matching(request, _found(db, id))
        db.execute("DELETE FROM customers WHERE id = ?", (id,))
    return Response(status_code=204)


async def list_emails(crm: Crm, _request: Request) -> Response:
    with crm.opened() as db:
        rows = db.execute("SELECT id, recipient, subject FROM emails ORDER BY id").fetchall()
    named = [dict(zip(("id", "to", "subject"), row, strict=True)) for row in rows]
    return JSONResponse({"emails": named})


async def send_email(crm: Crm, request: Request) -> Response:
    given = await _body(request)
    wanted = {"to", "subject"}
    if not isinstance(given, dict) or set(given) != wanted:
        raise Refused(400, "A mail has to and subject and nothing else.")
    if not all(isinstance(given[name], str) for name in wanted):
        raise Refused(400, "to and subject are texts.")
    with crm.opened() as db:
        sent = db.execute("INSERT INTO emails (recipient, subject) VALUES (:to, :subject)", given)
    return JSONResponse({"id": sent.lastrowid, "sent": True}, 202)


async def describe(_crm: Crm, _request: Request) -> Response:
    return Response(OPENAPI.read_bytes(), media_type="application/json")


Served = Callable[[Crm, Request], Awaitable[Response]]
ROUTES: tuple[tuple[str, str, Served], ...] = (
    ("GET", "/customers", list_customers),
    ("POST", "/customers", make_customer),
    ("GET", "/customers/{id:int}", read_customer),
    ("PUT", "/customers/{id:int}", put_customer),
    ("PATCH", "/customers/{id:int}", patch_customer),
    ("DELETE", "/customers/{id:int}", delete_customer),
    ("GET", "/emails", list_emails),
    ("POST", "/emails", send_email),
    ("GET", "/openapi.json", describe),
)


def application(path: Path) -> Starlette:
    """The tool as an ASGI application over the file ``path``."""
    crm = Crm(path)
    by_path: dict[str, dict[str, Served]] = {}
    for method, where, serve in ROUTES:
        by_path.setdefault(where, {})[method] = serve
    return Starlette(routes=[_route(crm, where, served) for where, served in by_path.items()])


def _route(crm: Crm, where: str, served: Mapping[str, Served]) -> Route:
    async def respond(request: Request) -> Response:
        try:
            return await served[request.method](crm, request)
        except Refused as refused:
            problem = {"title": refused.title, "status": refused.status}
            return JSONResponse(problem, refused.status, media_type="application/problem+json")

    route = Route(where, respond, methods=[*served])
    route.methods = set(served)
    return route


async def _run(server: uvicorn.Server) -> None:
    loop = asyncio.get_running_loop()

    def gone() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin)
            server.should_exit = True

    loop.add_reader(sys.stdin, gone)
    await server.serve()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.crm")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8410)
    parser.add_argument("--data", type=Path, default=Path("var/crm.db"))
    chosen = parser.parse_args(arguments)
    server = uvicorn.Server(
        uvicorn.Config(
            application(chosen.data),
            host=chosen.host,
            port=chosen.port,
            log_level="warning",
            timeout_graceful_shutdown=2,
        )
    )
    asyncio.run(_run(server))


if __name__ == "__main__":
    main()
