from __future__ import annotations

import ipaddress

import pytest

from gateway.addresses import Ambiguous
from gateway.hosts import is_internal, origin_of, why_never

REFUSED = [
    "http://0x7f000001", "http://0x7f.1", "http://127.1", "http://2130706433", "http://0177.0.0.1",
    "http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", "http://[2002:7f00:1::]",
    "http://localhost.", "http://169.254.169.254", "http://[fe80::1]", "http://0.0.0.0",
    "http://[::]", "http://224.0.0.1", "http://100.100.100.200", "http://[fd00:ec2::254]",
    "http://u@host", "http://u:p@host", "ftp://host", "file:///etc/passwd", "javascript:alert(1)",
    "http://", "http://host:0", "http://host:99999", "http://host/a?b", "http://host/a#b",
    "http://host/../a", "http://hóst", "http://ho st", "http://-host", "http://a..b", "//host",
    "http://host\\@evil", "http://[v1.x]",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_a_place_that_can_be_spelt_otherwise_is_refused(url: str) -> None:
    with pytest.raises(Ambiguous):
        origin_of(url)


def test_a_place_has_one_form() -> None:
    origin = origin_of("https://API.example.com/v1/")
    assert (origin.host, origin.port, origin.path, origin.secure) == (
        "api.example.com", 443, "/v1", True,
    )  # fmt: skip
    assert origin.authority == "api.example.com"
    assert origin_of("http://127.0.0.1:8410").authority == "127.0.0.1:8410"
    assert origin_of("http://[::1]:80/").authority == "[::1]"
    assert origin_of("http://127.0.0.1").address == ipaddress.ip_address("127.0.0.1")
    assert origin_of("http://internal-host").address is None


def test_some_addresses_are_never_called_and_some_only_where_it_is_said() -> None:
    assert why_never(ipaddress.ip_address("169.254.1.1"))
    assert why_never(ipaddress.ip_address("fe80::1%eth0"))
    assert why_never(ipaddress.ip_address("10.0.0.1")) is None
    assert is_internal(ipaddress.ip_address("10.0.0.1"))
    assert is_internal(ipaddress.ip_address("::1"))
    assert not is_internal(ipaddress.ip_address("9.9.9.9"))
