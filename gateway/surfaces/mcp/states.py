"""``requestState``: what a client brings back with its answers, sealed against everything else.

The state names a call that waits in this process. It is bound to the subject, to the request as it
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

from gateway.audit import canonical
from gateway.interfaces.mcp import INVALID_PARAMS, McpFault
from gateway.model import Json

_NONCE, _MAC = 16, 32
# What may differ when a request comes again with answers.
_VARYING = ("_meta", "inputResponses", "requestState")


def digest_of_request(method: str, scope: str, params: Mapping[str, Json]) -> bytes:
    """Over what a repeated request must have in common with the first one."""
    same = {key: value for key, value in params.items() if key not in _VARYING}
    return hashlib.sha256(canonical([method, scope, same])).digest()


class Seal:
    """The key lives as long as the process, as do the calls that wait."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def seal(self, *, owner: str, digest: bytes, ttl_s: float) -> tuple[str, str]:
        """The name of the state, and the sealed text for the client."""
        nonce = secrets.token_bytes(_NONCE)
        ends = struct.pack(">d", time.monotonic() + ttl_s)
        mac = self._mac(nonce, ends, owner, digest)
        return nonce.hex(), base64.urlsafe_b64encode(nonce + ends + mac).decode("ascii")

    def open(self, text: str, *, owner: str, digest: bytes) -> str:
        """The name of the state. Raises ``McpFault`` for a state that was not sealed for exactly
        this subject and request, or that is too old."""
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raw = b""
        if base64.urlsafe_b64encode(raw).decode("ascii") != text:
            raw = b""  # the same bytes in other letters
        nonce, ends, mac = raw[:_NONCE], raw[_NONCE : _NONCE + 8], raw[_NONCE + 8 :]
        known = len(mac) == _MAC and hmac.compare_digest(mac, self._mac(nonce, ends, owner, digest))
        if not known or struct.unpack(">d", ends)[0] < time.monotonic():
            raise McpFault(INVALID_PARAMS, "This requestState is not valid for this request.")
        return nonce.hex()

    def _mac(self, nonce: bytes, ends: bytes, owner: str, digest: bytes) -> bytes:
        return hmac.digest(self._key, nonce + ends + digest + owner.encode("utf-8"), "sha256")
