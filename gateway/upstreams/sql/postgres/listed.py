"""Names that a text may use without anybody asking the server."""

from __future__ import annotations

EXPLAIN_OPTIONS = frozenset(
    """
    analyze verbose costs settings generic_plan buffers wal timing summary memory serialize format
    """.split()  # noqa: SIM905 - a list of words
)
SHOWN = frozenset(
    """
    server_version server_version_num server_encoding client_encoding timezone datestyle
    intervalstyle search_path transaction_isolation transaction_read_only
    default_transaction_isolation default_transaction_read_only statement_timeout lock_timeout
    idle_in_transaction_session_timeout standard_conforming_strings max_connections lc_collate
    lc_ctype lc_messages lc_monetary lc_numeric lc_time is_superuser session_authorization role
    application_name extra_float_digits bytea_output integer_datetimes row_security work_mem
    max_identifier_length block_size in_hot_standby
    """.split()  # noqa: SIM905 - a list of words
)
# Types whose reading is the server's own code, by names that need no catalog.
KNOWN_TYPES = frozenset(
    """
    bool boolean int2 int4 int8 smallint integer bigint numeric decimal float4 float8 real text
    varchar bpchar char name bytea date time timetz timestamp timestamptz interval uuid json jsonb
    xml inet cidr macaddr bit varbit money oid regclass regtype regproc tsvector tsquery point
    """.split()  # noqa: SIM905 - a list of words
)
