# SPDX-License-Identifier: Apache-2.0
"""A reply grows out of chunks; whatever is none of the protocol raises RemoteFailed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.remote.failure import BROKEN_OFF, RemoteFailed
from penguin_ros.remote.reply import Reply, is_model
from penguin_ros.request import StopReason

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def chunk(content: Any = None, reason: Any = None, **facts: Any) -> str:
    choice = {'delta': {'content': content}, 'finish_reason': reason}
    return json.dumps({'choices': [choice], 'model': 'm', **facts})


def test_text_grows_without_the_space_in_front_and_without_controls() -> None:
    reply = Reply('m')
    pieces = [reply.event(chunk(text)) for text in (' ', '  A', ' bear\x1b[2J', None, '\u202e.')]
    assert pieces == ['', 'A', ' bear[2J', '', '.'] and reply.text == 'A bear[2J.'
    reply.event(chunk(None, 'length', usage={'prompt_tokens': 9, 'completion_tokens': 3}))
    assert reply.event('[DONE]') == '' and reply.is_done
    assert reply.stop_reason is StopReason.MAX_TOKENS and reply.stats.prompt_tokens == 9
    reply.check_whole(needs_done=True)


def test_an_empty_reason_to_end_is_none() -> None:
    reply = Reply('m')
    assert reply.event(chunk('A bear', '')) == 'A bear' and not reply.has_ended
    with pytest.raises(RemoteFailed):
        reply.event(chunk('', ['stop']))


def test_a_text_without_its_end_is_not_whole() -> None:
    reply = Reply('m')
    reply.event(chunk('A bear'))
    for needs_done in (False, True):
        with pytest.raises(RemoteFailed) as caught:
            reply.check_whole(needs_done)
        assert caught.value.cause == BROKEN_OFF
    reply.event(chunk(None, 'stop'))
    reply.check_whole(needs_done=False)
    with pytest.raises(RemoteFailed):
        reply.check_whole(needs_done=True)


def test_the_evidence_of_a_served_engine_is_taken_over() -> None:
    reply = Reply('m')
    stats = {'prompt_tokens': 100, 'reused_frames': 3, 'decode_ns': -1, 'encode_ns': 'x'}
    evidence = {'model_digest': 'ab', 'stop_reason': 'REPETITION', 'stats': stats}
    reply.event(chunk(None, 'stop', penguin={'evidence': evidence}))
    assert reply.digest == 'ab' and reply.stats.reused_frames == 3
    assert (reply.stats.decode_ns, reply.stats.encode_ns) == (0, 0)
    assert reply.stop_reason is StopReason.REPETITION
    scored = Reply('m')  # choices are read from logits, so that no text was generated
    scored.event(chunk('yes', 'stop', penguin={'evidence': {'stop_reason': 'NONE'}}))
    scored.event(chunk(None, None, usage={'prompt_tokens': 9}))
    assert scored.has_ended and scored.said['evidence']


@given(JSON, st.sampled_from(['choices', 'usage', 'penguin', 'model', 'error', 'whole']))
@settings(max_examples=100, deadline=None)
def test_any_json_is_a_chunk_or_a_named_failure(value: Any, place: str) -> None:
    reply = Reply('m')
    said = value if place == 'whole' else {**json.loads(chunk('x')), place: value}
    try:
        piece = reply.event(json.dumps(said))
        assert isinstance(piece, str) and isinstance(reply.stats.prompt_tokens, int)
    except RemoteFailed as failure:
        assert len(str(failure)) < 1000


@pytest.mark.parametrize(
    ('said', 'asked', 'is_it'),
    [
        ('m', 'm', True),
        ('m@main', 'm', True),
        ('gpt-4o-2024-08-06', 'gpt-4o', True),
        ('gpt-4o-mini', 'gpt-4o', False),
        ('m2', 'm', False),
        ('anything', '', True),
    ],
)
def test_a_version_of_a_model_is_that_model_and_a_sibling_is_not(
    said: str, asked: str, is_it: bool
) -> None:
    assert is_model(said, asked) is is_it
