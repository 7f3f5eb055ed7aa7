from __future__ import annotations

import psycopg
import pytest

from gateway.upstreams.sql.postgres.functions import (
    FIRST_USER_OID,
    HARMLESS_VOLATILE,
    harmless,
    refused_by_name,
)
from tests.fixtures.postgres_server import PostgresServer

EFFECTS = [
    "nextval",
    "setval",
    "currval",
    "lastval",
    "lo_create",
    "lo_unlink",
    "loread",
    "lowrite",
    "set_config",
    "pg_notify",
    "dblink",
    "dblink_exec",
    "pg_advisory_lock",
    "pg_try_advisory_xact_lock",
    "pg_sleep",
    "pg_sleep_for",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "query_to_xml",
    "table_to_xmlschema",
    "database_to_xml",
    "ts_stat",
    "ts_rewrite",
    "pg_read_file",
    "pg_ls_dir",
    "pg_stat_file",
    "txid_current",
    "pg_current_xact_id",
    "pg_export_snapshot",
    "pg_reload_conf",
    "pg_switch_wal",
    "pg_stat_reset",
    "domain_in",
    "array_in",
    "record_recv",
]


@pytest.mark.parametrize("name", EFFECTS)
def test_functions_with_effects_are_refused_whatever_the_catalog_says(name: str) -> None:
    assert refused_by_name(name)
    assert not harmless(name, "i", 1 if name != "ts_rewrite" else 2)


@pytest.mark.parametrize(
    "name", ["count", "lower", "now", "current_setting", "lo", "log", "enum_in"]
)
def test_plain_functions_are_not_refused_by_name(name: str) -> None:
    assert not refused_by_name(name)
    assert harmless(name, "s", 1)


def test_only_the_form_of_ts_rewrite_that_runs_a_query_is_refused() -> None:
    assert refused_by_name("ts_rewrite", 2)
    assert not refused_by_name("ts_rewrite", 3)


def test_volatile_functions_need_to_be_known() -> None:
    assert harmless("random", "v", 0)
    assert not harmless("never_heard_of", "v", 0)
    assert not harmless("lower", "?", 1)


def test_no_volatile_function_of_this_server_is_taken_but_the_listed(
    postgres_server: PostgresServer,
) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        names = {
            name
            for (name,) in connection.execute(
                "SELECT proname FROM pg_proc WHERE provolatile = 'v' AND oid < %s",
                (FIRST_USER_OID,),
            )
        }

    taken = {name for name in names if harmless(name, "v", 2)}
    assert taken == names & HARMLESS_VOLATILE
    assert not {n for n in HARMLESS_VOLATILE if refused_by_name(n, 2)}
