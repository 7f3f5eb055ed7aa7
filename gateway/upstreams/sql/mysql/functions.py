"""MariaDB's own functions that agents' statements may call: those that compute something of their
arguments, or read the clock or the session, and have no effect beyond that.

An unqualified call of a native function means the native one, also where a stored one has the
name; ``SHADOWED`` holds those that are not native everywhere.
"""

from __future__ import annotations

NATIVE = frozenset(
    """
    abs acos addtime ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or bit_xor cast
    ceil ceiling char char_length character_length charset chr coalesce coercibility collation
    column_get concat concat_ws connection_id conv convert convert_tz cos cot count crc32 crc32c
    cume_dist curdate current_date current_role current_time current_timestamp current_user curtime
    database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear
    degrees dense_rank elt exp export_set extract extractvalue field find_in_set first_value floor
    format found_rows from_base64 from_days from_unixtime get_format greatest group_concat hex hour
    if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr is_ipv4 is_ipv6 isnull
    json_array json_array_append json_array_insert json_arrayagg json_compact json_contains
    json_contains_path json_depth json_detailed json_equals json_exists json_extract json_insert
    json_keys json_length json_loose json_merge json_merge_patch json_merge_preserve json_normalize
    json_object json_objectagg json_overlaps json_pretty json_query json_quote json_remove
    json_replace json_search json_set json_type json_unquote json_valid json_value lag last_day
    last_insert_id last_value lcase lead least left length ln localtime localtimestamp locate log
    log10 log2 lower lpad ltrim make_set makedate maketime match max md5 median microsecond mid min
    minute mod month monthname natural_sort_key now nth_value ntile nullif nvl nvl2 oct octet_length
    ord percent_rank percentile_cont percentile_disc period_add period_diff pi position pow power
    quarter quote radians rand rank regexp_instr regexp_replace regexp_substr repeat replace reverse
    right round row row_count row_number rpad rtrim schema sec_to_time second session_user sformat
    sha sha1 sha2 sign sin soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp
    subdate substr substring substring_index subtime sum system_user sysdate tan time time_format
    time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_char to_days to_seconds
    trim truncate ucase uncompress uncompressed_length unhex unix_timestamp upper user utc_date
    utc_time utc_timestamp uuid uuid_short value values var_pop var_samp variance version week
    weekday weekofyear weight_string year yearweek
    area asbinary astext aswkb aswkt boundary buffer centroid contains crosses dimension disjoint
    distance endpoint envelope equals exteriorring geomfromtext geometryfromtext geometryn
    geometrytype glength intersects isclosed isempty issimple linestring mbrcontains mbrequal
    mbrintersects mbrwithin numgeometries numpoints overlaps point pointfromtext pointn polygon
    srid st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_buffer st_centroid
    st_contains st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere
    st_endpoint st_envelope st_equals st_geomfromgeojson st_geomfromtext st_geomfromwkb
    st_geometrytype st_intersection st_intersects st_isempty st_isvalid st_length st_numpoints
    st_overlaps st_pointn st_pointfromtext st_srid st_startpoint st_touches st_union st_within st_x
    st_y startpoint touches within x y
    """.split()  # noqa: SIM905
)

# Words of the grammar, for which a call may still mean a stored function, and functions that some
# served versions lack.
SHADOWED = frozenset(
    """
    distance linestring point polygon st_isvalid crc32c json_equals json_normalize json_overlaps
    json_pretty natural_sort_key sformat st_distance_sphere st_geomfromgeojson to_char
    """.split()  # noqa: SIM905
)

# Change the session when they are given an argument.
BARE_ONLY = frozenset({"last_insert_id"})

# Depend on the moment or the session: what they selected once they need not select again.
UNSTABLE = frozenset(
    """
    rand uuid uuid_short sysdate connection_id row_count found_rows last_insert_id now curdate
    current_date current_time current_timestamp curtime localtime localtimestamp unix_timestamp
    utc_date utc_time utc_timestamp user current_user session_user system_user current_role
    """.split()  # noqa: SIM905
)

# Words that stand before a bracket without calling anything.
KEYWORDS = frozenset(
    """
    against all and any as asc between both by case check constraint desc distinct div else
    except exists foreign from group having in index intersect interval into is join key leading
    like limit mod not offset on or order over partition primary recursive references regexp
    rlike select separator set some sounds straight_join then trailing union unique using value
    values when where with xor returning end
    binary bit char decimal double enum float int integer bigint smallint tinyint mediumint numeric
    varbinary varchar time timestamp datetime year set text blob fulltext spatial dec fixed real
    """.split()  # noqa: SIM905
)
