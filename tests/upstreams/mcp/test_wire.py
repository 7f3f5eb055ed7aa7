from __future__ import annotations

import pytest

from gateway.interfaces.mcp import McpFault
from gateway.upstreams.mcp.wire import MAX_MESSAGE_BYTES, NotAMessage, decode, encode, result_of

BAD = [
    b"",
    b"no json",
    b"[]",
    b"{}",
    b'{"jsonrpc":"1.0"}',
    b'{"jsonrpc":"2.0","a":1,"a":2}',
    b'{"jsonrpc":"2.0","a":NaN}',
    b'\xef\xbb\xbf{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","a":"\xff"}',
    b'{"jsonrpc":"2.0","a":"\\ud800"}',
    b'{"jsonrpc":"2.0","a":' + b"[" * 129 + b"]" * 129 + b"}",
    b"[" * 100_000,
    b"x" * (MAX_MESSAGE_BYTES + 1),
]


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_what_has_no_single_meaning_is_no_message(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        decode(data)


def test_brackets_in_texts_do_not_count_as_depth() -> None:
    message = {"jsonrpc": "2.0", "a": "[" * 1000 + '"\\'}
    assert decode(encode(message)) == message


def test_a_message_is_one_line() -> None:
    data = encode({"jsonrpc": "2.0", "a": "x\r\ny\u2028"})
    assert b"\n" not in data
    assert b"\r" not in data


def test_an_error_is_raised_with_what_it_says() -> None:
    with pytest.raises(McpFault) as fault:
        result_of({"error": {"code": -32001, "message": "no", "data": {"a": 1}}})
    assert (fault.value.code, fault.value.message, fault.value.data) == (-32001, "no", {"a": 1})
    assert fault.value.as_json() == {"code": -32001, "message": "no", "data": {"a": 1}}


@pytest.mark.parametrize("response", [{}, {"result": 7}, {"result": None}])
def test_a_response_without_a_result_is_no_message(response: dict[str, object]) -> None:
    with pytest.raises(NotAMessage):
        result_of(response)
