"""``requestState``: what a client brings back with its answers, sealed against everything else.

The state names a call that waits in this process, and tells its id: after a restart that is how its
client learns what became of it. It is bound to the subject, to the request as it
was sent, and to a time, and it is good once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.audit import canonical
from gateway.interfaces.mcp import INVALID_PARAMS, McpFault
from gateway.model import Json

_NONCE, _BORN, _MAC = 16, 8, 32
_HEAD = _NONCE + _BORN + 8  # and the time at which it ends
# What may differ when a request comes again with answers.
_VARYING = ("_meta", "inputResponses", "requestState")


def digest_of_request(method: str, scope: str, params: Mapping[str, Json]) -> bytes:
    """Over what a repeated request must have in common with the first one."""
    same = {key: value for key, value in params.items() if key not in _VARYING}
    return hashlib.sha256(canonical([method, scope, same])).digest()


@dataclass(frozen=True, slots=True)
class Opened:
    """``name``: of what waits. ``call``: the call that asked. ``earlier``: it was sealed by an
    earlier process, in which nothing waits any more."""

    name: str
    call: str
    earlier: bool


class Seal:
    """With a ``key`` that outlives the process, a state of an earlier one is known for what it
    was; what waits lives as long as the process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._born = secrets.token_bytes(_BORN)

    def seal(self, *, owner: str, digest: bytes, ttl_s: float, call: str = "") -> tuple[str, str]:
        """The name of the state, and the sealed text for the client."""
        nonce = secrets.token_bytes(_NONCE)
        ends = struct.pack(">d", time.monotonic() + ttl_s)
        said = nonce + self._born + ends + call.encode("utf-8")
        mac = self._mac(said, owner, digest)
        return nonce.hex(), base64.urlsafe_b64encode(mac + said).decode("ascii")

    def open(self, text: str, *, owner: str, digest: bytes) -> Opened:
        """Raises ``McpFault`` for a state that was not sealed for exactly this subject and
        request, or that is too old."""
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raw = b""
        if base64.urlsafe_b64encode(raw).decode("ascii") != text:
            raw = b""  # the same bytes in other letters
        mac, said = raw[:_MAC], raw[_MAC:]
        known = len(said) >= _HEAD and hmac.compare_digest(mac, self._mac(said, owner, digest))
        earlier = said[_NONCE : _NONCE + _BORN] != self._born
        late = known and struct.unpack(">d", said[_NONCE + _BORN : _HEAD])[0] < time.monotonic()
        if not known or (late and not earlier):
            raise McpFault(INVALID_PARAMS, "This requestState is not valid for this request.")
        return Opened(said[:_NONCE].hex(), said[_HEAD:].decode("utf-8"), earlier)

    def _mac(self, said: bytes, owner: str, digest: bytes) -> bytes:
        return hmac.digest(self._key, said + digest + owner.encode("utf-8"), "sha256")
