"""The servers that speak this protocol and are served, and where they differ. A server that is
neither is refused: what only resembles MySQL need not keep what is relied on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# What has to stand in every session, by the name of the variable, as the server shows it.
_PINS = {
    "autocommit": "1",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
    "time_zone": "+00:00",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    "completion_type": "NO_CHAIN",
    "sql_auto_is_null": "0",
    "sql_select_limit": "18446744073709551615",
}
_SETTINGS = (
    "SET NAMES utf8mb4, autocommit=1, time_zone='+00:00', foreign_key_checks=1, unique_checks=1, "
    "completion_type='NO_CHAIN', sql_auto_is_null=0, sql_select_limit=DEFAULT, "
    "innodb_lock_wait_timeout={lock}, lock_wait_timeout={lock}, wait_timeout={idle}, "
    "sql_mode='{mode}', "
)
# Values come back as they were, whatever today's strictness says of them; what they became is
# read again afterwards. Foreign keys do not act.
_LOOSE = (
    "SET foreign_key_checks = 0, "
    "sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'"
)
_TIGHT = "SET foreign_key_checks = 1, sql_mode = '{modes}'"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variety:
    """``id``: the type of its resources and the dialect, for policy. ``settings``: with ``{lock}``,
    ``{idle}``, ``{statement}`` (seconds), ``{patience}`` (milliseconds) and ``{mode}``. ``loose``
    and ``tight``: before and after rows are put back. ``counted``, ``keys``: the tables of the
    session's counters and of InnoDB's foreign keys. ``generated``: the condition of a generated
    column. ``digest``: a function of bytes to hexadecimal digits. ``lacking``: functions of
    ``functions.NATIVE`` that it has not, so that a stored one could have the name. ``abandons``:
    whether it ends a statement that runs for too long by itself. ``rekeys``: whether foreign
    keys and their indexes come back as they were with a table; ``replays``: the right to put
    rows back as events; ``layered``: whether foreign keys may be kept above the storage engine,
    where they can fire triggers and count among what a session did.
    """

    id: str
    name: str
    oldest: tuple[int, ...]
    pins: Mapping[str, str]
    settings: str
    loose: str
    tight: str
    counted: str
    keys: str
    generated: str
    digest: str
    replays: str
    lacking: frozenset[str] = field(default_factory=frozenset)
    parts: int = 1  # how often the engine counts one row of a partitioned table
    abandons: bool = True
    rekeys: bool = True
    layered: bool = False


MARIADB = Variety(
    id="mariadb",
    name="MariaDB",
    oldest=(10, 6),
    pins={
        **_PINS,
        "tx_isolation": "REPEATABLE-READ",
        "tx_read_only": "0",
        "check_constraint_checks": "1",
        "system_versioning_asof": "DEFAULT",
    },
    settings=_SETTINGS
    + "tx_isolation='REPEATABLE-READ', tx_read_only=0, check_constraint_checks=1, "
    "max_statement_time={statement}, idle_transaction_timeout={idle}",
    loose=f"{_LOOSE}, check_constraint_checks = 0",
    tight=f"{_TIGHT}, check_constraint_checks = 1",
    counted="information_schema.session_status",
    keys="information_schema.innodb_sys_foreign",
    generated="is_generated <> 'NEVER'",
    digest="MD5({})",
    replays="BINLOG REPLAY",
    parts=2,
)

# As MySQL 9.7 answered for each name of ``functions.NATIVE``: no such function.
_LACKING = frozenset(
    """
    area asbinary astext aswkb aswkt boundary buffer centroid chr column_get crc32c crosses
    dimension disjoint distance endpoint envelope equals exteriorring geometryfromtext geometryn
    geometrytype geomfromtext glength intersects isclosed isempty issimple json_compact
    json_detailed json_equals json_exists json_loose json_normalize json_query mbrequal md5 median
    natural_sort_key numgeometries numpoints nvl nvl2 overlaps percentile_cont percentile_disc
    pointfromtext pointn sformat sha sha1 startpoint to_char touches within x y
    """.split()  # noqa: SIM905
)

MYSQL = Variety(
    id="mysql",
    name="MySQL",
    oldest=(8, 0, 21),  # from which on the functions are those of today
    pins={
        **_PINS,
        "transaction_isolation": "REPEATABLE-READ",
        "transaction_read_only": "0",
        "information_schema_stats_expiry": "0",
    },
    # Only a SELECT ends by max_execution_time. How many rows a table has would be a day old.
    settings=_SETTINGS + "transaction_isolation='REPEATABLE-READ', transaction_read_only=0, "
    "information_schema_stats_expiry=0, max_execution_time={patience}",
    loose=_LOOSE,
    tight=_TIGHT,
    counted="performance_schema.session_status",
    keys="information_schema.innodb_foreign",
    generated="generation_expression <> ''",
    digest="SHA2({}, 256)",
    replays="REPLICATION_APPLIER",
    lacking=_LACKING,
    abandons=False,
    rekeys=False,
    layered=True,
)

_MYSQL = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9]+(?:\.[0-9]+)*|-log|-debug|-commercial)*")
_OTHERS = ("tidb", "vitess", "dolt", "doris", "singlestore", "memsql", "oceanbase", "proxysql")


def variety(version: str, comment: str, engine: str) -> Variety | None:
    """By what the server says of itself: ``@@version``, ``@@version_comment`` and
    ``@@innodb_version``, which the server's own engine has in common with it."""
    told = f"{version} {comment}".lower()
    if any(other in told for other in _OTHERS):
        return None
    if "mariadb" in version.lower():
        return MARIADB
    if _MYSQL.match(version) and numbers(version) == numbers(engine):
        return MYSQL
    return None


def numbers(version: str) -> tuple[int, ...]:
    """The first numbers of a version, which are compared."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()
