"""Code of users that a call runs by its name or as text: ``SELECT f()``, CALL and DO.

What it changes is known only once it has run. So it is a call of its own, runs only after a person
agreed (``deciding.Decider``), and what it changed is decided once more by table and verb while it
can still be rolled back. What no rollback reaches is looked for in its text beforehand.
"""

from __future__ import annotations

from typing import Any

from gateway.model import EXECUTE, Deny, Effect
from gateway.upstreams.sql.postgres.libpg import parse, pg
from gateway.upstreams.sql.postgres.lookup import Connection
from gateway.upstreams.sql.postgres.walk import texts, unwrap
from gateway.upstreams.sql.postgres.written import Named, Written

LANGUAGES = frozenset({"sql", "plpgsql"})
BLOCK = "block"  # the kind of effect that DO has; its name is that of the language
_BLOCK_LANGUAGE = "plpgsql"

_PROCEDURES = """
SELECT n.nspname || '.' || p.proname, l.lanname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.prokind = 'p' AND p.proname = %(name)s
   AND CASE WHEN %(schema)s::text IS NULL THEN pg_catalog.pg_function_is_visible(p.oid)
            ELSE n.nspname = %(schema)s END
"""

# Functions that reach beyond the transaction, where the agents' role may run any of them: text that
# is put together while it runs could call one.
_FAR = """
SELECT n.nspname || '.' || p.proname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE (p.proname ~ '^(dblink|http_|pg_file_|lo_import|lo_export|pg_ls_dir|pg_switch_wal)'
        OR p.proname IN ('pg_read_file', 'pg_read_binary_file'))
   AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT r.rolname FROM pg_catalog.pg_roles r
 WHERE r.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files',
                     'pg_signal_backend')
   AND pg_catalog.pg_has_role(r.oid, 'MEMBER')
LIMIT 1
"""


def block_of(text: str, statement: Any) -> Written | Deny:
    """A DO statement."""
    language, code = _BLOCK_LANGUAGE, None
    for option in (argument.def_elem for argument in statement.args):
        value = unwrap(option.arg)
        if option.defname == "language":
            language = value.sval
        elif option.defname == "as" and code is None:
            code = value.sval
        else:
            return _unsupported("This form of DO is not accepted.")
    if code is None or language != _BLOCK_LANGUAGE:
        return _unsupported(f"DO is accepted in {_BLOCK_LANGUAGE} only.")
    return Written(sql=text, verb=EXECUTE, asks=None, code=code)


def arguments_of(statement: Any) -> Any:
    """A query that selects the arguments of a CALL, or ``None`` where there are none."""
    query = pg.Node()
    query.CopyFrom(parse("SELECT").stmts[0].stmt)
    for argument in statement.funccall.args:
        value = argument.named_arg_expr.arg if argument.HasField("named_arg_expr") else argument
        target = pg.Node()
        target.res_target.val.CopyFrom(value)
        query.select_stmt.target_list.append(target)
    return query if statement.funccall.args else None


def procedure_of(statement: Any) -> Named | Deny:
    """What a CALL names."""
    path = texts(statement.funccall.funcname)
    if not 0 < len(path) <= 2:
        return _unsupported("What this calls cannot be told.")
    schema = path[0] if len(path) > 1 else None
    return Named(verb=EXECUTE, kind="procedure", schema=schema, name=path[-1], bounded=False)


async def effects_of(connection: Connection, written: Written) -> tuple[Effect, ...] | Deny:
    """Of a DO or a CALL: every procedure that the name could mean."""
    if written.code is not None:
        return (Effect(verb=EXECUTE, kind=BLOCK, name=_BLOCK_LANGUAGE, bounded=False),)
    called = written.calls
    if called is None:
        return ()
    cursor = await connection.execute(_PROCEDURES, {"name": called.name, "schema": called.schema})
    found = await cursor.fetchall()
    if not found:
        return Deny(reason="sql.unparsable", detail=f"There is no procedure {called.name}.")
    for name, language in found:
        if language not in LANGUAGES:
            return Deny(
                reason="action.unsupported",
                detail=f"{name} is written in {language}, whose code cannot be judged.",
                extra={"function": name},
            )
    names = dict.fromkeys(name for name, _ in found)
    return tuple(executed(name, "procedure") for name in names)


def executed(name: str, kind: str = "function") -> Effect:
    return Effect(verb=EXECUTE, kind=kind, name=name, bounded=False)


async def far(connection: Connection) -> Deny | None:
    """The refusal where text that is put together while it runs could reach beyond the
    transaction. ``connection``: the agents'."""
    cursor = await connection.execute(_FAR)
    row = await cursor.fetchone()
    if row is None:
        return None
    return Deny(
        reason="action.unsupported",
        detail="The code puts statements together while it runs, and the role of this source may "
        f"use {row[0]}, which no rollback takes back. Who runs the source can take that right "
        "away.",
        extra={"function": row[0]},
    )


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)
