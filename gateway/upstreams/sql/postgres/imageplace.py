"""Images in a schema of the database that they protect, where the operator wants them there.

They are written through connections of their own, as the gateway's role, and committed before the
call may be: an image is there whatever becomes of the call's transaction. A session holds an
advisory lock on the image that it writes, so that no other process takes it for a leftover.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier

from gateway.errors import ImageDamaged, SnapshotFailed
from gateway.upstreams.sql.postgres.session import Session

_PART = 512 * 1024
_KEPT = 4  # connections that wait for the next image
_NAME = re.compile(r"image-[a-z0-9]{32}\.zst")
_OPTIONS = (
    "-c synchronous_commit=on -c search_path= -c lock_timeout=1500 -c statement_timeout=60000 "
    "-c idle_in_transaction_session_timeout=0 -c row_security=off"
)

_LOCK = "pg_catalog.hashtextextended('holdfast image ' || %s::text, 0)"

Connection = psycopg.Connection[tuple[object, ...]]


def preparations(*, schema: str, capture: str) -> list[Composable]:
    """The statements in order; each may be run again."""
    names = {
        "schema": Identifier(schema),
        "parts": Identifier(schema, "parts"),
        "capture": Identifier(capture),
    }
    texts: tuple[LiteralString, ...] = (
        "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {capture}",
        "CREATE TABLE IF NOT EXISTS {parts} (image text NOT NULL, number int NOT NULL, "
        "bytes bytea NOT NULL, PRIMARY KEY (image, number))",
        "ALTER TABLE {parts} OWNER TO {capture}",
        "ALTER TABLE {parts} ALTER COLUMN bytes SET STORAGE EXTERNAL",  # compressed already
        "ALTER TABLE {parts} ENABLE ROW LEVEL SECURITY",
        "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
        "REVOKE ALL ON TABLE {parts} FROM PUBLIC",
    )
    return [SQL(text).format(**names) for text in texts]


# What stands against keeping images there; no row: nothing. Owners and nobody else have rights.
_UNSAFE = """
SELECT CASE
  WHEN n.oid IS NULL OR c.oid IS NULL THEN 'it is not there'
  WHEN n.nspowner <> k.oid OR c.relowner <> k.oid THEN 'it does not belong to the gateway''s role'
  WHEN NOT c.relrowsecurity OR EXISTS (
         SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
    THEN 'it is not as it was made'
  WHEN EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) x WHERE x.grantee <> n.nspowner)
    OR EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee <> c.relowner)
    THEN 'other roles have rights on it'
  WHEN a.rolsuper OR pg_catalog.pg_has_role(a.oid, k.oid, 'MEMBER')
    OR pg_catalog.has_schema_privilege(a.oid, n.oid, 'USAGE, CREATE')
    OR pg_catalog.has_table_privilege(
         a.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    THEN 'agents reach it'
END
FROM pg_catalog.pg_roles k
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = %(schema)s
LEFT JOIN pg_catalog.pg_class c
  ON c.relnamespace = n.oid AND c.relname = 'parts' AND c.relkind = 'r'
LEFT JOIN pg_catalog.pg_roles a ON a.rolname = %(agents)s
WHERE k.rolname = session_user"""


async def unfit(session: Session, schema: str, agents: str) -> str | None:
    """What stands against keeping images in ``schema``, asked as the gateway's role."""
    asked = {"schema": schema, "agents": agents}
    row = await (await session.connection.execute(_UNSAFE.encode(), asked)).fetchone()
    return "it is not there" if row is None else row[0]


# The same for `source prepare`, which asks as an administrator.
THERE = f"SELECT q.why IS NULL FROM ({_UNSAFE.replace('session_user', '%(capture)s')}) AS q(why)"


class TableShelf:
    """``store.shelves.Shelf`` over one table. ``place``: what the names of its images begin with;
    ``url``: the gateway's role; ``agents``: the role that must not reach it."""

    def __init__(self, place: str, *, url: str, schema: str, agents: str) -> None:
        self._place = place
        self._url = url
        self._schema = schema
        self._agents = agents
        self._parts = Identifier(schema, "parts")
        self._idle: list[Connection] = []
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"TableShelf({self._place!r}, {self._schema!r})"

    def open(self) -> None:
        with self._connection() as connection:
            self._proven(connection)

    def slot(self) -> TableSlot:
        connection = self._taken()
        try:
            self._proven(connection)
            return TableSlot(self, connection, f"image-{secrets.token_hex(16)}.zst")
        except psycopg.Error as error:
            connection.close()
            raise _failed(error) from error
        except OSError:
            self.give_back(connection)
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """Raises ``ImageDamaged`` for what is not there, ``SnapshotFailed`` when the database
        cannot be asked."""
        image = self._image(name)
        try:
            with self._connection() as connection:
                number = 0
                while part := self._part(connection, image, number):
                    yield part
                    number += 1
        except OSError as error:
            raise SnapshotFailed(f"The stored image cannot be read now: {error}.") from error
        if number == 0:
            raise ImageDamaged("The stored image is missing.")

    def _part(self, connection: Connection, image: str, number: int) -> bytes:
        query = self.sql("SELECT p.bytes FROM {parts} p WHERE p.image = %s AND p.number = %s")
        row = connection.execute(query, (image, number)).fetchone()
        found = b"" if row is None else row[0]
        assert isinstance(found, bytes)
        return found

    def remove(self, name: str) -> None:
        query = self.sql("DELETE FROM {parts} p WHERE p.image = %s")
        with self._connection() as connection:
            connection.execute(query, (self._image(name),))

    def holds(self, name: str) -> bool:
        query = self.sql("SELECT EXISTS (SELECT FROM {parts} p WHERE p.image = %s)")
        with self._connection() as connection:
            return connection.execute(query, (self._image(name),)).fetchone() == (True,)

    def idle(self) -> list[str]:
        query = self.sql("SELECT DISTINCT p.image FROM {parts} p")
        with self._connection() as connection:
            images = [str(image) for (image,) in connection.execute(query).fetchall()]
            return [f"{self._place}/{i}" for i in images if self._unused(connection, i)]

    def _unused(self, connection: Connection, image: str) -> bool:
        got = connection.execute(f"SELECT pg_catalog.pg_try_advisory_lock({_LOCK})", (image,))
        if got.fetchone() != (True,):
            return False
        connection.execute(f"SELECT pg_catalog.pg_advisory_unlock({_LOCK})", (image,))
        return True

    # --- connections

    def sql(self, text: LiteralString) -> Composed:
        return SQL(text).format(parts=self._parts)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection = self._taken()
        try:
            yield connection
        except psycopg.Error as error:
            connection.close()
            raise _failed(error) from error
        finally:
            self.give_back(connection)

    def _taken(self) -> Connection:
        with self._guard:
            while self._idle:
                connection = self._idle.pop()
                if _alive(connection):
                    return connection
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=5,
                application_name="holdfast-images",
                options=_OPTIONS,
            )
        except psycopg.Error as error:
            # The driver's own text may quote the address.
            raise OSError("the database cannot be reached") from error

    def give_back(self, connection: Connection) -> None:
        with self._guard:
            if not connection.closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._guard:
            while self._idle:
                self._idle.pop().close()

    def _proven(self, connection: Connection) -> None:
        """Raises ``OSError`` where agents could reach what lies here, or it is not there."""
        asked = {"schema": self._schema, "agents": self._agents}
        try:
            row = connection.execute(_UNSAFE.encode(), asked).fetchone()
        except psycopg.Error as error:
            raise _failed(error) from error
        if row is None or row[0] is not None:
            why = "it is not there" if row is None else row[0]
            raise OSError(f"the schema {self._schema} cannot hold images: {why}")

    def _image(self, name: str) -> str:
        place, _, image = name.rpartition("/")
        if place != self._place or not _NAME.fullmatch(image):
            raise ImageDamaged("The stored image has a name that no image has.")
        return image

    def named(self, image: str) -> str:
        return f"{self._place}/{image}"


class TableSlot:
    """``store.shelves.Slot``: one transaction, then the lock until the image is somebody's."""

    def __init__(self, shelf: TableShelf, connection: Connection, image: str) -> None:
        self._shelf = shelf
        self._connection = connection
        self._image = image
        self._buffer = bytearray()
        self._number = 0
        self.name = shelf.named(image)
        connection.execute(f"SELECT pg_catalog.pg_advisory_lock({_LOCK})", (image,))
        connection.execute("BEGIN")

    def write(self, packed: bytes) -> None:
        self._buffer += packed
        while len(self._buffer) >= _PART:
            self._put(bytes(self._buffer[:_PART]))
            del self._buffer[:_PART]

    def commit(self) -> None:
        if self._buffer:
            self._put(bytes(self._buffer))
            self._buffer.clear()
        try:
            told = self._connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            raise _failed(error) from error
        if told != "COMMIT":
            raise OSError("the database did not keep the image")

    def close(self, *, keep: bool) -> None:
        connection = self._connection
        try:
            if connection.closed:
                return
            if not keep:
                connection.execute("ROLLBACK")
                connection.execute(
                    self._shelf.sql("DELETE FROM {parts} p WHERE p.image = %s"), (self._image,)
                )
            connection.execute(f"SELECT pg_catalog.pg_advisory_unlock({_LOCK})", (self._image,))
        except psycopg.Error as error:
            connection.close()
            raise _failed(error) from error
        finally:
            self._shelf.give_back(connection)

    def _put(self, part: bytes) -> None:
        query = self._shelf.sql("INSERT INTO {parts} VALUES (%s, %s, %b)")
        try:
            self._connection.execute(query, (self._image, self._number, part))
        except psycopg.Error as error:
            raise _failed(error) from error
        self._number += 1


def _alive(connection: Connection) -> bool:
    if connection.closed:
        return False
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        connection.close()
        return False
    return True


def _failed(error: psycopg.Error) -> OSError:
    """In words that name no host, role or value."""
    if isinstance(error, psycopg.errors.DiskFull):
        return OSError("the disk of the database is full")
    if error.sqlstate is None:
        return OSError("the connection to the database was lost")
    return OSError(f"the database refused (SQLSTATE {error.sqlstate})")
