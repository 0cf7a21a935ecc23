# SPDX-License-Identifier: Apache-2.0
"""Which caption stands on which recorded frame."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='recordings are written with it')

from penguin_ros.frame import NANOSECONDS
from penguin_ros.overlay.arrangement import TextStyle
from penguin_ros.overlay.board import CaptionShown, RuleShown
from penguin_ros.recording.definitions import ANNOTATIONS, Definitions
from penguin_ros.recording.frame_header import FrameHeader
from penguin_ros.recording.frame_notes import CaptionSpan, FrameNotes
from penguin_ros.rules.event import State

WAIT_S = 5


def nowhere(package: str) -> Path:
    raise LookupError(package)


class Notes:
    """FrameNotes whose frames come once per second; `said` is what stands on each, by second."""

    def __init__(self) -> None:
        self.definitions = Definitions(nowhere)
        self.said: dict[int, list[str]] = {}
        wait_ns = WAIT_S * NANOSECONDS
        self.notes = FrameNotes(self.definitions, TextStyle(), wait_ns, self._take)

    def frame(self, second: int) -> None:
        header = FrameHeader(second * NANOSECONDS, 640, 480)
        self.notes.take_frame('front', header, second * NANOSECONDS)

    def caption(self, text: str, start: int, end: int, camera: str = 'front') -> None:
        shown = CaptionShown(text, end * NANOSECONDS)
        self.notes.take_caption(camera, CaptionSpan(shown, start * NANOSECONDS))

    def _take(self, camera: str, log_ns: int, content: bytes) -> None:
        message = self.definitions.store.deserialize_cdr(content, ANNOTATIONS)
        second = log_ns // NANOSECONDS
        assert second not in self.said, 'each frame has one message'
        assert all(text.timestamp.sec == second for text in message.texts)
        self.said[second] = [text.text for text in message.texts]


def test_a_caption_stands_on_the_frames_that_it_is_about_though_it_came_later() -> None:
    notes = Notes()
    for second in range(6):
        notes.frame(second)
    notes.caption('A dog.', 1, 3)
    assert notes.said == {0: [], 1: ['A dog.'], 2: ['A dog.'], 3: ['A dog.']}
    notes.frame(6)
    notes.caption('A cat.', 3, 6)
    assert notes.said[4] == notes.said[6] == ['A cat.']
    assert notes.said[3] == ['A dog.']


def test_a_frame_without_a_caption_of_its_own_shows_the_one_before_with_its_age() -> None:
    notes = Notes()
    notes.caption('A dog.', 0, 1)
    for second in range(2, 5 + WAIT_S):
        notes.frame(second)
    assert notes.said == {
        2: ['A dog.'],
        3: ['A dog. (2 s ago)'],
        4: ['A dog. (3 s ago)'],
    }
    notes.notes.flush()
    assert sorted(notes.said) == list(range(2, 5 + WAIT_S))


def test_another_camera_and_rules_are_kept_apart() -> None:
    notes = Notes()
    rule = RuleShown('door', State.ACTIVE, 0.9, 0)
    notes.frame(0)
    notes.notes.take_rules('front', (rule,))
    notes.frame(1)
    notes.caption('A cat.', 0, 9, camera='rear')
    notes.notes.flush()
    assert notes.said == {0: [], 1: ['door (0.90)']}
