"""What a statement may call and look at: allow-lists of built-in functions, table-valued
functions and pragmas. A name that is not here is refused."""

from __future__ import annotations

_SCALAR = """
-> ->> abs acos acosh asin asinh atan atan2 atanh bm25 ceil ceiling changes char coalesce concat
concat_ws cos cosh current_date current_time current_timestamp date datetime degrees exp floor
format fts5_get_locale fts5_insttoken fts5_locale glob hex highlight if ifnull iif instr json
json_array json_array_insert json_array_length json_error_position json_extract json_insert
json_object json_patch json_pretty json_quote json_remove json_replace json_set json_type
json_valid jsonb jsonb_array jsonb_array_insert jsonb_extract jsonb_insert jsonb_object
jsonb_patch jsonb_remove jsonb_replace jsonb_set julianday last_insert_rowid length like
likelihood likely ln log log10 log2 lower ltrim match matchinfo max min mod nullif octet_length
offsets pi pow power printf quote radians random randomblob replace round rtrim sign sin sinh
snippet sqlite_source_id sqlite_version sqrt strftime substr substring subtype tan tanh time
timediff total_changes trim trunc typeof unhex unicode unistr unistr_quote unixepoch unlikely
upper zeroblob
"""
_AGGREGATE = """
avg count group_concat json_group_array json_group_object jsonb_group_array jsonb_group_object
median percentile percentile_cont percentile_disc string_agg sum total cume_dist dense_rank
first_value lag last_value lead nth_value ntile percent_rank rank row_number
"""

FUNCTIONS = frozenset((_SCALAR + _AGGREGATE).split())

# Called by ALTER TABLE on the schema's own text; the engine refuses them in ordinary statements.
ALTER_FUNCTIONS = frozenset(
    {
        "sqlite_rename_table",
        "sqlite_rename_test",
        "sqlite_rename_column",
        "sqlite_rename_quotefix",
        "sqlite_drop_column",
        "sqlite_drop_constraint",
        "sqlite_add_constraint",
        "sqlite_find_constraint",
        "sqlite_fail",
    }
)

TABLE_FUNCTIONS = frozenset({"json_each", "json_tree", "jsonb_each", "jsonb_tree"})

# Read-only pragmas; all take a table or index name, or nothing.
PRAGMAS = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
    }
)
# Harmless without an argument: they show a setting and, so used, cannot change it.
SHOWN_PRAGMAS = frozenset({"query_only", "encoding", "page_count", "page_size"}) | {
    "user_version",
    "application_id",
}
# Numbers in the file's header that applications use as they like.
HEADER_PRAGMAS = frozenset({"user_version", "application_id"})
# What full-text and r-tree tables ask for themselves while they are being read.
MODULE_PRAGMAS = frozenset({"data_version", "page_size"})

RECEIPTS = "holdfast_receipt"
