"""Images at rest: AES-256-GCM in chunks under a key of their own, which is wrapped by a key from
the configuration.

A sealed image is a row of chunks of ``CHUNK`` bytes, the last one shorter, each followed by its
tag. The nonce of a chunk is its number and whether it is the last one, so chunks cannot be moved,
left out, repeated or cut off. No nonce is used twice, as every image has a key of its own. That key
is wrapped for one call: an image that is put in another's place does not open.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import ImageDamaged, StoreUnavailable

CHUNK = 128 * 1024
_TAG = 16
_NONCE = 12
_NUMBER = 10
_IMAGE, _TEXT, _ANSWER = b"\0", b"\1", b"\2"  # what the key of an image has sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """The key of one image under the key that is called ``id``."""

    id: str
    key: bytes


class Keys:
    """The keys of the configuration by name; ``active`` wraps what is new. None is ever shown."""

    def __init__(self, keys: Mapping[str, bytes], *, active: str) -> None:
        self._keys = {id: AESGCM(key) for id, key in keys.items()}
        self.active = active

    def __repr__(self) -> str:
        return f"Keys({', '.join(sorted(self._keys))}; active={self.active})"

    def __contains__(self, id: object) -> bool:
        return id in self._keys

    def wrap(self, key: bytes, bound_to: bytes) -> Wrapped:
        nonce = os.urandom(_NONCE)
        sealed = self._keys[self.active].encrypt(nonce, key, bound_to)
        return Wrapped(id=self.active, key=nonce + sealed)

    def unwrap(self, wrapped: Wrapped, bound_to: bytes) -> bytes:
        """Raises ``ImageDamaged``, and ``StoreUnavailable`` when the key is not configured."""
        known = self._keys.get(wrapped.id)
        if known is None:
            raise missing([wrapped.id])
        try:
            return known.decrypt(wrapped.key[:_NONCE], wrapped.key[_NONCE:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise ImageDamaged(
                "The stored image was sealed for another call, or its record was edited."
            ) from error


def missing(ids: list[str]) -> StoreUnavailable:
    return StoreUnavailable(
        f"Images are encrypted with keys that are not configured: {', '.join(ids)}. Give them in "
        "snapshots.encryption.keys, or delete those snapshots."
    )


def new_key() -> bytes:
    return AESGCM.generate_key(bit_length=256)


@dataclass(slots=True)
class Sealer:
    """Seals one image: ``add`` its pieces, then ``end``."""

    key: bytes = field(default_factory=new_key, repr=False)
    _cipher: AESGCM = field(init=False, repr=False)
    _rest: bytearray = field(default_factory=bytearray, repr=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self._cipher = AESGCM(self.key)

    def add(self, piece: bytes) -> bytes:
        self._rest += piece
        sealed: list[bytes] = []
        # One chunk is always held back: only ``end`` knows which is the last.
        while len(self._rest) > CHUNK:
            sealed.append(self._chunk(bytes(self._rest[:CHUNK]), last=False))
            del self._rest[:CHUNK]
        return b"".join(sealed)

    def end(self) -> bytes:
        return self._chunk(bytes(self._rest), last=True)

    def _chunk(self, plain: bytes, *, last: bool) -> bytes:
        nonce = _nonce(_IMAGE, self._number, last=last)
        self._number += 1
        return self._cipher.encrypt(nonce, plain, None)


def opened(key: bytes, sealed: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks of a sealed image. Raises ``ImageDamaged`` at the first that is not in its
    place."""
    cipher = AESGCM(key)
    for number, (chunk, last) in enumerate(_chunks(sealed)):
        try:
            plain = cipher.decrypt(_nonce(_IMAGE, number, last=last), chunk, None)
        except (InvalidTag, ValueError) as error:
            raise ImageDamaged("The stored image is not the one that was sealed.") from error
        yield plain


def _chunks(sealed: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    whole = CHUNK + _TAG
    rest = bytearray()
    for piece in sealed:
        rest += piece
        while len(rest) > whole:
            yield bytes(rest[:whole]), False
            del rest[:whole]
    yield bytes(rest), True


def seal_text(key: bytes, text: str) -> str:
    """A text that belongs to the image of ``key``; at most one per key."""
    sealed = AESGCM(key).encrypt(_nonce(_TEXT, 0, last=True), text.encode("utf-8"), None)
    return base64.b64encode(sealed).decode("ascii")


def open_text(key: bytes, sealed: str) -> str:
    """Raises ``ImageDamaged``."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(_nonce(_TEXT, 0, last=True), raw, None).decode("utf-8")
    except (InvalidTag, ValueError) as error:
        raise ImageDamaged("The stored manifest is not the one that was sealed.") from error


def seal_answer(key: bytes, text: str) -> str:
    """A text that belongs to the image of ``key`` and may be sealed more than once, as the outcome
    that it comes with may have to be written again."""
    number = os.urandom(_NUMBER)
    nonce = _nonce(_ANSWER, int.from_bytes(number, "big"), last=True)
    return base64.b64encode(number + AESGCM(key).encrypt(nonce, text.encode("utf-8"), None)).decode(
        "ascii"
    )


def open_answer(key: bytes, sealed: str) -> str:
    """Raises ``ImageDamaged``."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        nonce = _nonce(_ANSWER, int.from_bytes(raw[:_NUMBER], "big"), last=True)
        return AESGCM(key).decrypt(nonce, raw[_NUMBER:], None).decode("utf-8")
    except (InvalidTag, ValueError) as error:
        raise ImageDamaged("The stored answer is not the one that was sealed.") from error


def _nonce(use: bytes, number: int, *, last: bool) -> bytes:
    return use + number.to_bytes(10, "big") + (b"\1" if last else b"\0")
