"""What code of the tables that a write reaches would do outside of its transaction, as far as the
text of that code tells.

Triggers, defaults and constraints run functions that the statement does not name. What such a
function sends through another connection, writes into a file or sets back in a sequence stays when
the transaction is rolled back, so it has to be seen before it runs. Text that is put together while
it runs can hide from this; what counters and locks show of that is measured afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gateway.model import EXECUTE, Deny, Effect
from gateway.upstreams.sql.postgres.functions import FIRST_USER_OID
from gateway.upstreams.sql.postgres.lookup import Connection

_READS = frozenset({"select", "show", "explain"})
_MOST_ROUNDS = 10  # functions that call functions

# ``qualified`` names are what the statement writes to; ``words`` may be names of anything.
_CODE = """
WITH RECURSIVE relation(oid) AS (
  (SELECT c.oid FROM pg_catalog.pg_class c
    WHERE c.oid >= %(first)s AND c.relname = ANY (%(words)s::name[])
   UNION ALL
   SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= %(first)s AND c.relname = ANY (%(bare)s::name[])
      AND n.nspname || '.' || c.relname = ANY (%(qualified)s::text[]))
  UNION
  SELECT near.oid FROM relation r CROSS JOIN LATERAL (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid
    UNION ALL SELECT k.conrelid FROM pg_catalog.pg_constraint k
     WHERE k.confrelid = r.oid AND (k.confdeltype IN ('c', 'n', 'd')
        OR k.confupdtype IN ('c', 'n', 'd'))) near
), bound(classid, objid) AS (
  SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass::oid, a.oid
    FROM relation r JOIN pg_catalog.pg_attrdef a ON a.adrelid = r.oid
  UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
    FROM relation r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
  UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid
    FROM relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
), code(oid) AS (
  SELECT t.tgfoid FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid
   WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
  UNION SELECT d.refobjid FROM bound b
    JOIN pg_catalog.pg_depend d ON d.classid = b.classid AND d.objid = b.objid
   WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.proname = ANY (%(words)s::name[])
  UNION SELECT e.evtfoid FROM pg_catalog.pg_event_trigger e
   WHERE %(schema)s AND e.evtenabled <> 'D'
)
SELECT p.oid::int8, n.nspname || '.' || p.proname, l.lanname,
       l.lanpltrusted OR l.lanname IN ('c', 'internal'),
       CASE WHEN p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
            THEN pg_catalog.pg_get_functiondef(p.oid) ELSE p.prosrc END
  FROM code JOIN pg_catalog.pg_proc p ON p.oid = code.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= %(first)s
UNION ALL
SELECT a.oid::int8, 'the default of ' || a.adrelid::pg_catalog.regclass::text, 'sql', true,
       pg_catalog.pg_get_expr(a.adbin, a.adrelid)
  FROM relation r JOIN pg_catalog.pg_attrdef a ON a.adrelid = r.oid
"""

_NEVER = re.compile(
    r"""
      \b(?P<function>dblink\w* | setval | lo_export | pg_(?:terminate|cancel)_backend | pg_file_\w+
        | pg_reload_conf | pg_rotate_logfile | pg_switch_wal | pg_promote | pg_logical_emit_message
        | pg_(?:create|drop|copy)_\w*slot | pg_replication_\w+
        | http_(?:get|post|put|patch|delete|head))\b
    | \b(?P<copy>copy)\b[^;]*?\b(?:to|from)\s+(?:program\b|e?'|\$|\|\||%)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TOLD = re.compile(
    r"""
      \b(?P<notify>pg_notify|notify|triggered_change_notification)\b
    | \b(?P<lock>pg_(?:try_)?advisory_lock(?:_shared)?)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What code that an agent lets run may not do besides: change the session, or hide behind the rights
# of somebody else what it puts together while it runs.
_RUN_NEVER = re.compile(
    r"""
      \b(?P<session>set_config | reset | discard | set\s+(?:session\s+|local\s+)?(?:role
        | authorization | session_replication_role))\b
    | \b(?P<large>lo_\w+ | loread | lowrite)\b
    | \b(?P<told>pg_notify | notify | listen | pg_(?:try_)?advisory_\w+)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DYNAMIC = re.compile(r"\bexecute\b(?!\s+(?:function|procedure)\b)", re.IGNORECASE)
_DEFINER = re.compile(r"\bsecurity\s+definer\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlying:
    """``warnings``: what is done beyond rows, and not taken back by an undo. ``code``: whether
    code of users runs at all; ``dynamic``: whether code that runs by name puts statements together
    while it runs."""

    warnings: tuple[str, ...] = ()
    code: bool = False
    dynamic: bool = False


async def outlying(
    connection: Connection,
    effects: Collection[Effect],
    vouched: Collection[str],
    *,
    code: str | None = None,
) -> Outlying | Deny:
    """``vouched``: qualified names of functions that the operator answers for; what they do is
    told, and not refused. ``code``: the text of a DO. Asked anew for every call; where
    ``connection`` keeps plans, that costs a tenth."""
    run = _Run(by_name=frozenset(e.name for e in effects if e.verb == EXECUTE))
    if code is not None:
        refusal = run.read("this block", code, "plpgsql", trusted=True)
        if refusal is not None:
            return refusal
    written = sorted({e.name for e in effects if e.verb not in _READS})
    if not written:
        return Outlying()
    schema = any(e.verb in ("create", "alter", "drop") for e in effects)
    bare = sorted({name.partition(".")[2] for name in written})
    asked: dict[str, object] = {"qualified": written, "bare": bare, "schema": schema}
    known: set[int] = set()
    words: set[str] = set()
    new = run.words
    run.words = set()
    for _ in range(_MOST_ROUNDS):
        cursor = await connection.execute(
            _CODE, {**asked, "words": sorted(new), "first": FIRST_USER_OID}, prepare=True
        )
        found = [row for row in await cursor.fetchall() if row[0] not in known]
        for oid, name, language, trusted, text in found:
            known.add(oid)
            refusal = run.read(name, text, language, trusted=trusted, vouched=name in vouched)
            if refusal is not None:
                return refusal
        new, run.words = run.words, set()
        new -= words
        words |= new
        if not new:
            return run.told()
        asked = {"qualified": [], "bare": [], "schema": False}
    return Deny(
        reason="action.unsupported",
        detail="What this would run calls other code too deeply to be judged.",
    )


class _Run:
    """What the texts that were read so far tell. ``by_name``: what a person is to agree to."""

    def __init__(self, by_name: frozenset[str]) -> None:
        self._strict = bool(by_name)
        self._warnings: dict[str, None] = {}
        self._code = self._dynamic = False
        self.words = {name.rpartition(".")[2] for name in by_name}

    def read(
        self, name: str, text: str, language: str, *, trusted: bool, vouched: bool = False
    ) -> Deny | None:
        refusal = _never(name, text, language, trusted=trusted)
        if refusal is None and self._strict:
            refusal = _not_by_name(name, text)
        if refusal is not None and not vouched:
            return refusal
        self._warnings.update(dict.fromkeys(_told(name, text, refusal)))
        self._code = self._code or not name.startswith("the default of ")
        if language not in ("c", "internal"):
            self._dynamic = self._dynamic or _DYNAMIC.search(text) is not None
            self.words |= set(_WORD.findall(text)) | set(_WORD.findall(text.lower()))
        return None

    def told(self) -> Outlying:
        dynamic = self._strict and self._dynamic
        if dynamic:
            self._warnings[_UNREAD] = None
        return Outlying(warnings=tuple(self._warnings), code=self._code, dynamic=dynamic)


_UNREAD = (
    "The code puts statements together while it runs, which nobody can read beforehand: a "
    "notification that it sends, or a session of its own role that it ends, is not taken back."
)


def _not_by_name(name: str, text: str) -> Deny | None:
    """``text`` begins with how the function is declared."""
    found = _RUN_NEVER.search(text)
    if found is not None and found["session"]:
        what = "changes settings of the session"
    elif found is not None and found["large"]:
        what = "changes large objects, which have no rows to bring back"
    elif found is not None:
        what = "sends notifications or takes locks that outlast it, which no undo takes back"
    elif _DEFINER.search(text) and _DYNAMIC.search(text):
        what = "puts statements together while it runs, with the rights of its owner"
    else:
        return None
    return Deny(
        reason="action.unsupported",
        detail=f"This would run {name}; that {what}.",
        extra={"function": name},
    )


def _never(name: str, text: str, language: str, *, trusted: bool) -> Deny | None:
    """``name`` counts as well: an extension's own function has nothing else to tell by."""
    found = _NEVER.search(f"{name}\n{text}")
    if trusted and found is None:
        return None
    if found is None:
        what = f"is written in {language}, which may do anything on the server"
    elif found["copy"]:
        what = "copies to or from a file or a program of the server"
    else:
        what = f"calls {found['function'].lower()}, which no rollback takes back"
    return Deny(
        reason="action.unsupported",
        detail=f"This would run {name}; that {what}.",
        extra={"function": name},
    )


def _told(name: str, text: str, refusal: Deny | None) -> list[str]:
    if refusal is not None:
        return [f"{refusal.detail} An undo does not reach that."]
    told: list[str] = []
    for match in _TOLD.finditer(f"{name}\n{text}"):
        if match["notify"]:
            told.append(f"{name} sends notifications; an undo does not unsend them.")
        else:
            told.append(f"{name} takes advisory locks, which are let go when the call ends.")
    return told
