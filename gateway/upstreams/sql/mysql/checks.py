"""What the start-up check has to say about a server and the accounts of one source."""

from __future__ import annotations

from collections.abc import Callable

import pymysql

from gateway.model import Finding
from gateway.upstreams.sql.mysql import events, receipts
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, names_in
from gateway.upstreams.sql.mysql.literals import text_literal
from gateway.upstreams.sql.mysql.rights import hidden, keys_hidden
from gateway.upstreams.sql.mysql.session import LEXICAL, Session

_TOO_MUCH = ("SUPER", "FILE", "CREATE USER", "SHUTDOWN", "EXECUTE", "EVENT", "SET USER",
             "BINLOG ADMIN", "REPLICATION SLAVE ADMIN")  # fmt: skip
_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys', 'holdfast')"

Say = Callable[[str, str], None]


def account_findings(session: Session, about: str) -> list[Finding]:
    """What the agents' account can do beside its work, and what the server is set to."""
    findings, say = _notes(about)
    _server(session, say)
    _rights(session, say)
    _code(session, say)
    if not _may_write_receipts(session):
        say(
            "warning",
            f"Agents' account may not write to {OWN_SCHEMA}.receipts: every write is refused. "
            f"GRANT INSERT ON {OWN_SCHEMA}.receipts TO it.",
        )
    return findings


def capture_findings(session: Session, about: str) -> list[Finding]:
    """What the gateway's own account lacks."""
    findings, say = _notes(about)
    if not receipts.there(session):
        say(
            "warning",
            f"{OWN_SCHEMA}.receipts is missing and the gateway's account may not create it: every "
            f"write is refused. CREATE DATABASE {OWN_SCHEMA} and GRANT ALL ON {OWN_SCHEMA}.* TO "
            "the account of capture_url.",
        )
    [(database,)] = session.texts("SELECT DATABASE()")
    names = sorted(names_in(session, database or ""))
    unseen = hidden(session, [(database or "", name) for name in names])
    if unseen:
        say(
            "warning",
            f"The gateway's account is not shown the triggers of {'.'.join(unseen[0])}: writes to "
            "it are refused. GRANT TRIGGER on what agents may change TO it.",
        )
    right = session.variety.replays
    if not events.allowed(session):
        say(
            "info",
            "Calls whose way back would fire triggers are refused: the gateway's account has no "
            f"{right}, or slave_run_triggers_for_rbr is not NO. GRANT {right} ON *.* TO it.",
        )
    if keys_hidden(session):
        say(
            "warning",
            "The gateway's account has no PROCESS: foreign keys of tables that it may not see are "
            "not shown to it, so that every UPDATE and DELETE is refused. GRANT PROCESS ON *.* "
            "TO it.",
        )
    return findings


def _notes(about: str) -> tuple[list[Finding], Say]:
    findings: list[Finding] = []

    def say(level: str, message: str) -> None:
        findings.append(Finding(level=level, about=about, message=message))

    return findings, say


def _server(session: Session, say: Say) -> None:
    modes, binlog, image, trust, scheduler = session.texts(
        "SELECT @@GLOBAL.sql_mode, @@GLOBAL.binlog_format, @@GLOBAL.binlog_row_image, "
        "@@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.event_scheduler"
    )[0]
    odd = sorted(LEXICAL & set((modes or "").split(",")))
    if odd:
        say("warning", f"sql_mode has {', '.join(odd)}; calls run without it.")
    if trust != "1":
        say("warning", "innodb_flush_log_at_trx_commit is not 1: a commit can be lost.")
    if binlog == "STATEMENT":
        say("warning", "binlog_format is STATEMENT: replicas may not follow reverts exactly.")
    if image != "FULL":
        say("info", f"binlog_row_image is {image}: the binary log holds no whole rows.")
    if scheduler == "ON":
        say("info", "The event scheduler runs: events change rows without the gateway.")


def _rights(session: Session, say: Say) -> None:
    granted: set[str] = set()
    for (line,) in session.texts("SHOW GRANTS"):
        text = (line or "").upper()
        if text.startswith("GRANT ALL PRIVILEGES ON *.*"):
            granted.update(_TOO_MUCH)
        elif text.startswith("GRANT ") and " ON " in text:
            granted.update(r.strip() for r in text[len("GRANT ") : text.index(" ON ")].split(","))
    held = [right for right in _TOO_MUCH if right in granted]
    if held:
        say(
            "warning",
            f"Agents' account has {', '.join(held)}: give it only SELECT, INSERT, UPDATE and "
            "DELETE where it needs them.",
        )


def _code(session: Session, say: Say) -> None:
    here = f"NOT IN {_SYSTEM}"
    found = session.texts(
        "SELECT COUNT(*) FROM information_schema.routines WHERE security_type = 'DEFINER' AND "
        f"routine_schema {here} AND routine_type = 'FUNCTION'"
    )
    if found[0][0] != "0":
        say(
            "info",
            f"{found[0][0]} stored functions run with their owner's rights; calls to stored "
            "functions are refused.",
        )
    tables = session.texts(
        "SELECT table_schema, table_name, engine FROM information_schema.tables WHERE "
        f"table_type = 'BASE TABLE' AND engine <> 'InnoDB' AND table_schema {here} LIMIT 20"
    )
    for schema, name, engine in tables:
        say("info", f"{schema}.{name} is kept by {engine}: writes to it are refused.")


def _may_write_receipts(session: Session) -> bool:
    session.run("START TRANSACTION")
    try:
        session.run(
            f"INSERT INTO {receipts.TABLE} (call_id, state) VALUES "
            f"({text_literal(b'check')}, 'void')"
        )
    except pymysql.Error:
        return False
    finally:
        session.run("ROLLBACK")
    return True
