"""The audit log: pure functions over canonical bytes. No I/O.

Each entry is the RFC 8785 (JCS) text of ``{"seq", "prev", "at", "event", ...}`` and its hash is
SHA-256 over exactly those bytes; ``prev`` is the hash before it, so the chain is verified on bytes
and never on re-parsed values. A checkpoint is ``{"seq", "hash"}`` of some entry, kept elsewhere:
the chain alone cannot show a cut tail or a log written anew by whoever owns the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import rfc8785

from gateway.model import Json, Surface

GENESIS = "0" * 64
_typed = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode


# For what ``_is_common`` lets pass these are RFC 8785's own bytes: the same escapes, keys in the
# same order, integers as they are. The standard library's C code takes a fifth of the time.
_common = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, check_circular=False, separators=(",", ":")
).encode
_LARGEST = 2**53


def canonical(value: Json) -> bytes:
    """RFC 8785 bytes. Integers beyond 2**53 become strings, as JCS cannot hold them exactly."""
    if _is_common(value):
        with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair: refused below
            return _common(value).encode("utf-8")
    return rfc8785.dumps(_exact(value))


def _is_common(value: Json) -> bool:
    """Whether ``value`` has only what two encoders cannot write differently: ASCII keys, texts,
    small integers, booleans, null, in plain dicts and lists."""
    waiting = [value]
    for each in waiting:  # which grows meanwhile
        kind = type(each)
        if kind is str or each is None or kind is bool:
            continue
        if kind is dict:
            if not all(map(_is_common_key, each)):
                return False
            waiting.extend(each.values())
        elif kind is list or kind is tuple:
            waiting.extend(each)
        elif kind is not int or not -_LARGEST < each < _LARGEST:
            return False
    return True


def _is_common_key(key: object) -> bool:
    return type(key) is str and key.isascii()


def canonical_digest(value: Json) -> str:
    """SHA-256 (hex) of ``canonical(value)``."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _exact(value: Json) -> Json:
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return value if -(2**53) < value < 2**53 else str(value)
    if isinstance(value, Mapping):
        return {str(k): _exact(v) for k, v in value.items()}
    return [_exact(v) for v in value]


def digest_of(surface: Surface, tool: str, request: Mapping[str, Json]) -> str:
    """SHA-256 (hex) that names the exact action: what an approval and a key are bound to."""
    # Typed, so that 1 and "1", or 2**60 and its text, stay apart.
    typed, head = _typed(request), _typed([str(surface), tool])
    return hashlib.sha256(f"{head}\n{typed}".encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Sealed:
    seq: int
    hash: str
    body: str


def seal(previous: str, seq: int, at: datetime, event: str, fields: Mapping[str, Json]) -> Sealed:
    """The next entry after the one whose hash is ``previous`` (``GENESIS`` for seq 1)."""
    body = canonical({**fields, "seq": seq, "prev": previous, "at": at.isoformat(), "event": event})
    return Sealed(seq, hashlib.sha256(body).hexdigest(), body.decode("utf-8"))


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True)
class Fault:
    """The first bad entry: its place in the log and what is wrong with it."""

    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    entries: int
    head: str
    fault: Fault | None


def verify(
    entries: Iterable[tuple[int, str, str]], checkpoints: Iterable[tuple[int, str]] = ()
) -> Verdict:
    """Checks (seq, hash, body) triples in stored order against the chain and the checkpoints.

    Every change, cut, reorder, deletion and splice before or at the last checkpoint is found;
    what came after it is proven consistent in itself only.
    """
    wanted = dict(checkpoints)
    previous, expected = GENESIS, 1
    for seq, digest, body in entries:
        why = _why_bad(seq, digest, body, previous, expected)
        if why is None and wanted.pop(seq, digest) != digest:
            why = "the hash differs from the checkpoint"
        if why is not None:
            return Verdict(expected - 1, previous, Fault(expected, why))
        previous, expected = digest, expected + 1
    if wanted:
        return Verdict(
            expected - 1,
            previous,
            Fault(expected, f"the log ends before the checkpoint at {max(wanted)}"),
        )
    return Verdict(expected - 1, previous, None)


def _why_bad(seq: int, digest: str, body: str, previous: str, expected: int) -> str | None:
    if seq != expected:
        return f"entry {expected} is missing (found {seq})"
    if _hash(body) != digest:
        return "the body does not have its hash"
    try:
        parsed = json.loads(body)
    except ValueError:
        return "the body is not JSON"
    if not isinstance(parsed, dict) or parsed.get("seq") != seq:
        return "the body carries another number"
    if parsed.get("prev") != previous:
        return "the entry does not follow the one before it"
    return None
