from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.mcp.events import EventReader
from gateway.upstreams.mcp.wire import NotAMessage

STREAM = (
    b": hello\n\nid: 3\nretry: 200\ndata: \n\nevent: message\r\ndata: a\r\ndata: b\r\n\r\n"
    b"event: other\ndata: no\n\ndata:c\r\rid: 9\ndata: d\n\ndata: unfinished\n"
)


@given(st.lists(st.integers(1, len(STREAM)), max_size=8))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    reader, found, start = EventReader(), [], 0
    for end in [*sorted(set(cuts)), len(STREAM)]:
        found += list(reader.feed(STREAM[start:end]))
        start = end
    assert found == [b"a\nb", b"c", b"d"]
    assert (reader.last_id, reader.retry_ms) == ("9", 200)


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_a_stream_without_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        list(EventReader(most=100).feed(data))
