"""Types of single values: durations, URLs, secrets."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
)

from gateway.addresses import Ambiguous
from gateway.hosts import origin_of

SourceKind = Literal["sqlite", "postgresql", "mariadb"]

_DURATION = re.compile(r"([1-9][0-9]{0,8})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SOURCE_KINDS: dict[str, SourceKind] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mariadb",
    "mariadb": "mariadb",
}

MIN_TOKEN_CHARS = 8
KEY_BYTES = 32
# Defaults that ship with products and get copied, without case, - and _.
_PLACEHOLDERS = frozenset(
    {"secret", "secretapikey", "changeme", "password", "admin", "default", "placeholder", "token"}
)


def parse_duration(text: Any) -> timedelta:
    """``30d``, ``62h``, ``15m``, ``90s``, ``2w``. Raises ``ValueError``."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("a duration is a whole number and a unit: 90s, 15m, 62h, 30d or 2w")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise ValueError("the duration is too long") from None


def shown_duration(value: timedelta) -> str:
    """The shortest form that ``parse_duration`` reads back."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    PlainValidator(parse_duration),
    PlainSerializer(shown_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": "^[1-9][0-9]{0,8}[smhdw]$", "examples": ["90s", "30d"]}
    ),
]


class SecretMarker:
    """Marks a value that has to come from the environment."""


def _real_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if not token:
        raise ValueError("the token is empty")
    if re.sub("[-_ ]", "", token).casefold() in _PLACEHOLDERS:
        raise ValueError("the token is a placeholder; use a random one")
    if len(token) < MIN_TOKEN_CHARS:
        raise ValueError(f"the token is shorter than {MIN_TOKEN_CHARS} characters")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("the token has characters that a header cannot carry")
    return value


Token = Annotated[SecretStr, AfterValidator(_real_token), SecretMarker()]


def key_bytes(text: str) -> bytes:
    """The 32 bytes of a key in base64. Raises ``ValueError``."""
    try:
        key = base64.b64decode(text.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
    except ValueError:
        raise ValueError("a key is 32 random bytes in base64") from None
    if len(key) != KEY_BYTES or len(set(key)) < KEY_BYTES // 4:
        raise ValueError("a key is 32 random bytes in base64")
    return key


def _key(value: SecretStr) -> SecretStr:
    key_bytes(value.get_secret_value())
    return value


Key = Annotated[SecretStr, AfterValidator(_key), SecretMarker()]

_COLUMN = re.compile(r"[^.\s]{1,128}(\.[^.\s]{1,128}){1,2}")


def _column_pattern(text: str) -> str:
    if not _COLUMN.fullmatch(text):
        raise ValueError("a column is table.column or schema.table.column; * stands for any part")
    return text


ColumnPattern = Annotated[str, AfterValidator(_column_pattern)]


def _bucket_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("s3", "gs", "az") or not parts.hostname:
        raise ValueError("an object store is s3://bucket/prefix, gs://bucket/prefix or az://...")
    if parts.username or parts.password or parts.query or parts.fragment or ".." in parts.path:
        raise ValueError("credentials and options come from the environment, not from the URL")
    return text


BucketUrl = Annotated[str, AfterValidator(_bucket_url)]


def _blank_is_none(value: Any) -> Any:
    return None if value == "" else value


BlankIsNone = BeforeValidator(_blank_is_none)


def _scheme(text: str) -> str:
    return text.partition("://")[0] if "://" in text else ""


def sqlite_path(url: str) -> str | None:
    """The file of ``sqlite:///relative`` or ``sqlite:////absolute``; ``None`` for other URLs."""
    return url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else None


def _sqlite_file(text: str) -> None:
    path = sqlite_path(text)
    if not path or path.endswith("/"):
        raise ValueError("an SQLite URL is sqlite:///relative/file.db or sqlite:////absolute")
    if any(c in path for c in "?#%\0"):
        raise ValueError("an SQLite URL takes no options, fragments or % escapes")
    if path == ":memory:":
        raise ValueError("a database in memory cannot be protected: name a file")


def _source_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    kind = _SOURCE_KINDS.get(_scheme(text))
    if kind is None:
        raise ValueError("a source URL begins with sqlite:///, postgresql:// or mysql://")
    if kind == "sqlite":
        _sqlite_file(text)
    else:
        _server_url(text, "a PostgreSQL" if kind == "postgresql" else "a MariaDB or MySQL")
    return value


def source_kind(url: str) -> SourceKind:
    """The database behind a URL that is valid."""
    return _SOURCE_KINDS[_scheme(url)]


def _server_url(text: str, what: str) -> None:
    try:
        parts = urlsplit(text)
        named = parts.hostname is not None and parts.port != 0
    except ValueError:
        named = False
    if not named:
        scheme = "mysql" if "Maria" in what else "postgresql"
        raise ValueError(f"{what} URL is {scheme}://user:password@host:port/database")


def _store_url(text: str) -> str:
    if _scheme(text) in ("postgresql", "postgres"):
        raise ValueError("the PostgreSQL store is not served by this version: use sqlite:///")
    if _scheme(text) != "sqlite":
        raise ValueError("a store URL begins with sqlite:///")
    _sqlite_file(text)
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("the URL must be http://host:port or https://host:port")
    return text


def _tool_url(text: str) -> str:
    try:
        origin_of(text)
    except Ambiguous as error:
        raise ValueError(str(error)) from None
    return text


def _mcp_url(text: str) -> str:
    """As a tool's, but for a query, which servers take keys in."""
    return _tool_url(text.partition("?")[0]) and text


def _header_value(value: SecretStr) -> SecretStr:
    if re.fullmatch(r"[\x20-\x7e]*", value.get_secret_value()) is None:
        raise ValueError("a header is one line of printable ASCII characters")
    return value


ToolUrl = Annotated[str, AfterValidator(_tool_url)]
ServerUrl = Annotated[str, AfterValidator(_mcp_url)]
Headers = dict[
    Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")],
    Annotated[SecretStr, AfterValidator(_header_value)],
]
SourceUrl = Annotated[SecretStr, AfterValidator(_source_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
Function = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$")
]
ImagesSchema = Annotated[str, StringConstraints(pattern=r"^holdfast_images[a-z0-9_]{0,40}$")]
Bytes = Annotated[int, Field(ge=1, le=2**40)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
