"""Hosts with exactly one spelling, and the addresses that no tool may live at."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.addresses import Ambiguous, path_from, segments_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_NUMERIC = re.compile(r"0x[0-9a-f]*|[0-9]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Where clouds keep the credentials of the machine, beside the link-local ones.
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A tool's place: ``host`` is a name or a canonical address, ``path`` a canonical prefix
    without a slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def address(self) -> Address | None:
        """The host, where it is written as an address."""
        return _address(self.host)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The one place that ``url`` means. Raises ``Ambiguous`` for a spelling that other readers
    could take for another host: numbers for addresses, mapped addresses, a dot at the end, user
    names, a query."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Ambiguous("this is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not url.isascii() or not url.isprintable():
        raise Ambiguous("the URL begins with http:// or https://")
    if "@" in parts.netloc or "\\" in url:
        raise Ambiguous("the URL has no user name: credentials are injected by headers")
    if "?" in url or "#" in url:
        raise Ambiguous("the URL has no query and no fragment")
    if port == 0:
        raise Ambiguous("the port is 1 to 65535")
    host = _host(parts.hostname or "", bracketed="[" in parts.netloc)
    path = path_from(segments_of(parts.path)) if parts.path else ""
    return Origin(
        scheme=parts.scheme,
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        path=path.rstrip("/"),
    )


def _host(host: str, *, bracketed: bool) -> str:
    address = _address(host)
    if address is not None:
        refusal = why_never(address)
        if refusal:
            raise Ambiguous(refusal)
        return str(address)
    if bracketed or ":" in host:
        raise Ambiguous("the host is not an IPv6 address")
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        raise Ambiguous("an address is written as four decimal numbers, such as 127.0.0.1")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Ambiguous("the host is a name of letters, digits and -, without a dot at its end")
    return host


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def why_never(address: Address) -> str | None:
    """Why nothing is ever sent to ``address``, whoever configured it."""
    if isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped or address.sixtofour or address.teredo or address.scope_id
    ):
        return "an IPv6 address that stands for another one is not accepted"
    if address.is_link_local or str(address) in _METADATA:
        return "link-local and metadata addresses are never called"
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        return "this address is not that of one host"
    return None


def is_internal(address: Address) -> bool:
    """Loopback or private: reached only where the configuration says so."""
    return not address.is_global
