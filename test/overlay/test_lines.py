# SPDX-License-Identifier: Apache-2.0
"""What is said over a frame, in words."""

from __future__ import annotations

from penguin_ros.frame import NANOSECONDS
from penguin_ros.overlay.board import Board, CaptionShown, RuleShown
from penguin_ros.overlay.lines import ALL, NONE, Tone, overlay_of
from penguin_ros.rules.event import State

NOW = 1_000 * NANOSECONDS
MAX_AGE = 10 * NANOSECONDS


def said(board: Board, **options: object) -> list[tuple[str, Tone]]:
    overlay = overlay_of(board, NOW, MAX_AGE, **options)  # type: ignore[arg-type]
    return [(line.text, line.tone) for line in overlay.lines]


def caption(age_s: float, text: str = 'A dog.', **fields: object) -> Board:
    end_ns = NOW - round(age_s * NANOSECONDS)
    return Board(caption=CaptionShown(text, end_ns, **fields))  # type: ignore[arg-type]


def test_a_caption_tells_its_age_and_fades() -> None:
    assert said(caption(1.0)) == [('A dog.', Tone.PLAIN)]
    assert said(caption(5.0)) == [('A dog. (5 s ago)', Tone.PLAIN)]
    assert said(caption(300.0)) == [('A dog. (5 min ago)', Tone.FAINT)]


def test_a_caption_of_the_future_is_of_another_time_and_not_shown() -> None:
    assert said(caption(-1.0)) == [('A dog.', Tone.PLAIN)]
    assert said(caption(-60.0)) == []


def test_a_cut_caption_and_one_that_failed_say_so() -> None:
    assert said(caption(0.0, 'A dog and', is_cut=True)) == [('A dog and…', Tone.PLAIN)]
    assert said(caption(0.0, '', error='no memory')) == [('no caption: no memory', Tone.WARN)]


def test_a_hostile_caption_is_one_line_of_text() -> None:
    hostile = 'a\x1b[31m\n\nb\u202etxt <script>'
    assert said(caption(0.0, hostile)) == [('a[31m btxt <script>', Tone.PLAIN)]


def rule(name: str, state: State, **fields: object) -> RuleShown:
    return RuleShown(name, state, 0.9, NOW - 12 * NANOSECONDS, **fields)  # type: ignore[arg-type]


def test_rules_are_named_by_urgency_and_what_is_too_much_is_counted() -> None:
    board = Board(
        rules=(
            rule('calm', State.INACTIVE),
            rule('dark', State.UNKNOWN, reason='no frames'),
            rule('door', State.PENDING),
            rule('intruder', State.ACTIVE),
        )
    )
    assert said(board) == [
        ('intruder for 12 s (0.90)', Tone.ALARM),
        ('door? (0.90)', Tone.WARN),
        ('dark unknown: no frames', Tone.FAINT),
    ]
    assert said(board, shown_rules=ALL)[-1] == ('calm no (0.90)', Tone.FAINT)
    assert said(board, shown_rules=NONE) == []
    assert said(board, most=1)[1] == ('and 2 rules more', Tone.FAINT)
    assert overlay_of(board, NOW, MAX_AGE).is_alarm
