# SPDX-License-Identifier: Apache-2.0
"""Events are the same wherever the network cuts their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.remote.event_stream import EventStream
from penguin_ros.remote.failure import ILLEGIBLE, RemoteFailed

WIRE = (
    ': a comment\n\nevent: message\nid: 1\ndata: {"a": 1}\n\n'
    'data: süß\r\n\r\ndata:two\ndata: lines\n\ndata: [DONE]\n\ndata: never finished'
).encode()
EVENTS = ['{"a": 1}', 'süß', 'two\nlines', '[DONE]']


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
@settings(max_examples=80, deadline=None)
def test_cuts_change_nothing(cuts: list[int]) -> None:
    stream, places = EventStream(), [0, *sorted(cuts), len(WIRE)]
    pieces = (WIRE[begin:end] for begin, end in zip(places, places[1:], strict=False))
    assert [event for piece in pieces for event in stream.feed(piece)] == EVENTS


def test_the_mark_that_some_servers_begin_with_is_no_part_of_the_first_event() -> None:
    stream = EventStream()
    pieces = (b'\xef\xbb', b'\xbfdata: one\n', b'\ndata: two\n\n')
    assert [event for piece in pieces for event in stream.feed(piece)] == ['one', 'two']


@given(st.binary(max_size=300))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_events_or_a_named_failure(content: bytes) -> None:
    try:
        assert all(isinstance(event, str) for event in EventStream().feed(content))
    except RemoteFailed as failure:
        assert failure.cause == ILLEGIBLE


@pytest.mark.parametrize('content', [b'data: ' + b'x' * 100, b'data: 1234567\n' * 8])
def test_an_event_without_end_is_refused_before_memory_is(content: bytes) -> None:
    with pytest.raises(RemoteFailed, match='more than 50 bytes'):
        list(EventStream(max_bytes=50).feed(content))
