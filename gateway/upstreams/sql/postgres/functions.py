"""Which of PostgreSQL's own functions a statement may use.

Built-in functions that the catalog calls immutable or stable are taken, except those below that
run SQL in strings, assign transaction ids or feed text to types of others; volatile ones only
where they are known to change nothing. Everything else needs the operator's word.
"""

from __future__ import annotations

import re

FIRST_USER_OID = 16384  # smaller ones were made by initdb

# Volatile, and yet without any effect: each only looks, or draws a number.
HARMLESS_VOLATILE = frozenset(
    """
    clock_timestamp timeofday random random_normal gen_random_uuid uuidv4 uuidv7
    statement_timestamp current_query
    pg_relation_size pg_table_size pg_total_relation_size pg_indexes_size pg_database_size
    pg_tablespace_size pg_column_size pg_is_in_recovery pg_current_wal_lsn
    pg_current_wal_insert_lsn pg_current_wal_flush_lsn pg_last_wal_receive_lsn
    pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_is_wal_replay_paused
    pg_lock_status pg_blocking_pids pg_safe_snapshot_blocking_pids pg_prepared_xact
    pg_partition_tree pg_partition_ancestors pg_timezone_names
    pg_collation_actual_version pg_database_collation_actual_version pg_jit_available
    pg_notification_queue_usage pg_stat_have_stats pg_xact_status txid_status
    pg_stat_get_recovery_prefetch pg_stat_get_xact_numscans pg_stat_get_xact_tuples_returned
    pg_stat_get_xact_tuples_fetched pg_stat_get_xact_tuples_inserted
    pg_stat_get_xact_tuples_updated pg_stat_get_xact_tuples_deleted
    pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_newpage_updated
    pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit
    pg_stat_get_xact_function_calls pg_stat_get_xact_function_total_time
    pg_stat_get_xact_function_self_time pg_sequence_parameters bernoulli system
    """.split()  # noqa: SIM905 - a list of words
)

# What an agent's own text may not name, whatever the catalog says.
_REFUSED = re.compile(
    r"""
      (?:nextval|setval|currval|lastval|set_config|setseed|pg_notify|currtid2?)
    | lo_.*|loread|lowrite
    | dblink.*
    | pg_(?:try_)?advisory_.*
    | pg_sleep.*
    | pg_(?:terminate|cancel)_backend
    | (?:query|table|cursor|schema|database)_to_xml.*
    | ts_stat
    | crosstab.*|connectby|xpath_table
    | pg_(?:ls|read)_.*|pg_stat_file|pg_file_.*|pg_logdir_ls
    | pg_current_xact_id|txid_current|pg_export_snapshot|pg_nextoid
    | pg_(?:reload_conf|rotate_logfile|switch_wal|promote|log_backend_memory_contexts).*
    | pg_stat_(?:reset|force|clear).*|pg_(?:create|drop|copy)_.*|pg_logical_.*|pg_replication_.*
    | pg_wal_replay_.*|pg_backup_.*|pg_(?:start|stop)_.*|pg_import_.*|binary_upgrade_.*
    | brin_(?:de)?summarize_.*|gin_clean_pending_list
    # These read text as a type that is named by an argument, and run its checks.
    | (?:domain|record|array|range|multirange)_(?:in|recv)
    | pg_input_(?:is_valid|error_info)
    # These run what a table or a language was defined with.
    | satisfies_hash_partition|pg_get_partition_constraintdef|.*_validator
    """,
    re.VERBOSE,
)


def refused_by_name(name: str, arguments: int | None = None) -> bool:
    """Whether a function of this bare name has effects beyond its value. ``arguments``: how many
    are written, where that is known."""
    if name == "ts_rewrite":
        return arguments is None or arguments == 2  # the second is a query to run
    return _REFUSED.fullmatch(name) is not None


def harmless(name: str, volatile: str, arguments: int) -> bool:
    """Whether one of the server's own functions only computes a value. ``volatile``: as in
    ``pg_proc.provolatile``."""
    if refused_by_name(name, arguments):
        return False
    return volatile in ("i", "s") or (volatile == "v" and name in HARMLESS_VOLATILE)
