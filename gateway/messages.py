"""What an HTTP message may carry from an agent to a tool, whoever reads or writes it. Pure."""

from __future__ import annotations

import re

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

# Never from an agent or a template: framing, hops, credentials, and what others judge by.
NEVER_SENT = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type",
        "cookie", "cookie2", "expect", "forwarded", "front-end-https", "host", "http2-settings",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "via", "x-client-ip", "x-cluster-client-ip",
        "x-host", "x-http-method", "x-http-method-override", "x-method-override",
        "x-original-host", "x-original-url", "x-override-url", "x-real-ip", "x-rewrite-url",
        "true-client-ip", "cf-connecting-ip", "idempotency-key", "origin", "referer",
    }
)  # fmt: skip
NEVER_SENT_BEGINNINGS = ("x-forwarded-", "holdfast-", "sec-", "proxy-")

_OVERRIDE = "_method"  # a field that frameworks take for the method of a request

_JSON_TYPE = re.compile(r"application/(?:[a-z0-9!#$&^_.+-]+\+)?json")


def is_json(kind: str | None) -> bool:
    """Whether a media type, in lower case and without parameters, is JSON."""
    return kind is not None and _JSON_TYPE.fullmatch(kind) is not None


def may_be_sent(name: str) -> bool:
    """Whether an agent or a template may set this header; ``name`` in lower case."""
    return name not in NEVER_SENT and not name.startswith(NEVER_SENT_BEGINNINGS)


def field_of(name: str) -> str:
    """The field that a name in a query or form may end up as: some tools take ``A.b``, `` a b`` and
    ``a_b[]`` for one."""
    return (
        re.sub(r"[. ]", "_", re.sub(r"(?<=.)\[.*", "", name.lstrip(" "))).replace("[", "_").lower()
    )


def overrides_method(name: str) -> bool:
    """Whether a tool may take the field of this name for the method, which is judged already."""
    return field_of(name) == _OVERRIDE
