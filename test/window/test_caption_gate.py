# SPDX-License-Identifier: Apache-2.0
"""The gate lets a caption through whenever something changed, and is never silent for longer than
its heartbeat.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.window_streams import image

from penguin_ros.preprocessing.frame_types import FrameSignature, frame_signature
from penguin_ros.request import Answer
from penguin_ros.window.caption_gate import CaptionGate

STILL, OTHER = frame_signature(image(0)), frame_signature(image(1))
ANSWER = Answer('id', 'What?', 'front', 'A wall.')


def captioned(question: str = 'What?', frame: FrameSignature = STILL) -> CaptionGate:
    gate = CaptionGate()
    gate.look(0, frame, 0.95)
    gate.begin(question, 0)
    gate.end(ANSWER)
    return gate


def test_as_long_as_nothing_changes_the_last_caption_holds() -> None:
    gate = captioned()
    for stamp in range(1, 5):
        gate.look(stamp, frame_signature(image(0, noise=stamp)), 0.95)
    told = gate.unchanged('What?')
    assert told is not None and told.answer is ANSWER and told.end_ns == 0


def test_a_change_that_has_passed_when_the_next_caption_is_due_counts_too() -> None:
    gate = captioned()
    for stamp, frame in enumerate([STILL, OTHER, STILL], 1):
        gate.look(stamp, frame, 0.95)
    assert gate.unchanged('What?') is None


def test_what_changes_while_a_caption_is_made_counts_against_that_caption() -> None:
    gate = captioned()
    gate.look(1, OTHER, 0.95)
    gate.begin('What?', 1)
    gate.look(2, STILL, 0.95)
    gate.end(ANSWER)
    assert gate.unchanged('What?') is None


def test_what_had_changed_before_a_caption_was_begun_is_captioned_by_it() -> None:
    gate = captioned()
    gate.look(1, OTHER, 0.95)
    gate.begin('What?', 1)
    gate.look(2, OTHER, 0.95)
    gate.end(ANSWER)
    assert gate.unchanged('What?') is not None


def test_a_caption_that_failed_another_question_and_a_new_stream_are_no_reason_for_silence() -> (
    None
):
    gate = captioned()
    gate.look(1, OTHER, 0.95)
    gate.begin('What?', 1)
    gate.end(None)
    assert gate.unchanged('What?') is None
    assert captioned().unchanged('Where?') is None
    gate = captioned()
    gate.forget()
    assert gate.unchanged('What?') is None and gate.newest_ns is None


def test_a_caption_of_frames_that_were_not_looked_at_cannot_be_repeated() -> None:
    gate = CaptionGate()
    gate.begin('What?', 0)
    gate.end(ANSWER)
    assert gate.unchanged('What?') is None


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 5))
def test_every_change_lets_the_next_caption_through(changes: list[bool], every: int) -> None:
    gate, scene = captioned(), 0
    frames = {0: STILL, 1: OTHER}
    seen_since = {0}
    for stamp, has_changed in enumerate(changes, 1):
        scene = 1 - scene if has_changed else scene
        gate.look(stamp, frames[scene], 0.95)
        seen_since.add(scene)
        if stamp % every == 0:
            assert (gate.unchanged('What?') is None) == (len(seen_since) > 1)
            gate.begin('What?', stamp)
            gate.end(ANSWER)
            seen_since = {scene}


@given(st.lists(st.integers(900, 1100), min_size=1, max_size=60), st.integers(1100, 9000))
def test_silence_never_lasts_longer_than_the_heartbeat(gaps: list[int], heartbeat: int) -> None:
    gate, now = captioned(), 0
    gate.note_sent(now)
    sent = [now]
    for gap in gaps:
        now += gap
        if gate.is_heartbeat_due(now, 1100, heartbeat):
            gate.note_sent(now)
            sent.append(now)
    assert all(
        later - earlier <= heartbeat for earlier, later in zip(sent, [*sent[1:], now], strict=True)
    )
