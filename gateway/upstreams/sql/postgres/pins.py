"""Settings that decide how values and names read."""

from __future__ import annotations

# What decides how values look as text: an image made under one setting and read under another
# would not be exact. Sent at connect, so that DISCARD ALL returns to them.
TEXT_PINS = {
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "xmloption": "content",
}

# A search path that names nothing makes names in values (regclass and such) unambiguous.
_PINS = {
    "search_path": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "xmloption": "content",
    "row_security": "off",
}


PIN = "SELECT " + ", ".join(
    f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in _PINS.items()
)
