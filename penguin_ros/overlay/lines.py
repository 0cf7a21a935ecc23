# SPDX-License-Identifier: Apache-2.0
"""What is said over a frame, in words: from what is known of the camera and the frame's stamp."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from penguin_ros.frame import NANOSECONDS
from penguin_ros.overlay.board import Board, CaptionShown, RuleShown
from penguin_ros.rules.event import State
from penguin_ros.text import cleaned

EVENTS, ALL, NONE = 'events', 'all', 'none'
AHEAD_NS = 2 * NANOSECONDS
"""A caption may be about frames that come after one that arrived late; beyond that time has jumped.
"""
TOLD_AGE_NS = 2 * NANOSECONDS
"""Younger captions are about what the picture shows: their age is not told."""
SEVERAL = 6


class Tone(Enum):
    """How a line is meant; what shows it gives it a colour."""

    PLAIN = 'plain'
    FAINT = 'faint'
    WARN = 'warn'
    ALARM = 'alarm'


@dataclass(frozen=True)
class Line:
    """One line of text, however long."""

    text: str
    tone: Tone


@dataclass(frozen=True)
class Overlay:
    """What is said over a frame: how rules are doing, above; the caption, below."""

    rules: tuple[Line, ...] = ()
    caption: tuple[Line, ...] = ()

    @property
    def is_alarm(self) -> bool:
        """Whether a rule's event is under way."""
        return any(line.tone is Tone.ALARM for line in self.rules)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines from above to below."""
        return self.rules + self.caption


def overlay_of(
    board: Board, stamp_ns: int, max_age_ns: int, shown_rules: str = EVENTS, most: int = SEVERAL
) -> Overlay:
    """Returns what is said over the frame of a stamp.

    A caption that is older than `max_age_ns` is faint, and its age is told. `shown_rules` is one of
    EVENTS, ALL and NONE; at most `most` rules are named.
    """
    return Overlay(
        rules=_rule_lines(board.rules, stamp_ns, shown_rules, most),
        caption=_caption_lines(board.caption, stamp_ns, max_age_ns),
    )


def _caption_lines(
    caption: CaptionShown | None, stamp_ns: int, max_age_ns: int
) -> tuple[Line, ...]:
    if caption is None or caption.end_ns - stamp_ns > AHEAD_NS:
        return ()
    if caption.error:
        return (Line(f'no caption: {_one_line(caption.error)}', Tone.WARN),)
    text = _one_line(caption.text) + ('…' if caption.is_cut else '')
    age_ns = stamp_ns - caption.end_ns
    if age_ns >= TOLD_AGE_NS:
        text = f'{text} ({_duration(age_ns)} ago)'
    return (Line(text, Tone.FAINT if age_ns > max_age_ns else Tone.PLAIN),)


_URGENCY = {State.ACTIVE: 0, State.HEALING: 1, State.PENDING: 2, State.UNKNOWN: 3}


def _rule_lines(
    rules: tuple[RuleShown, ...], stamp_ns: int, shown: str, most: int
) -> tuple[Line, ...]:
    if shown == NONE:
        return ()
    wanted = [rule for rule in rules if shown == ALL or rule.state in _URGENCY]
    wanted.sort(key=lambda rule: (_URGENCY.get(rule.state, 4), rule.rule))
    lines = [_rule_line(rule, stamp_ns) for rule in wanted[:most]]
    if len(wanted) > most:
        lines.append(Line(f'and {len(wanted) - most} rules more', Tone.FAINT))
    return tuple(lines)


def _rule_line(rule: RuleShown, stamp_ns: int) -> Line:
    name, share = _one_line(rule.rule), f'{rule.probability:.2f}'
    since_ns = stamp_ns - rule.since_ns
    since = f' for {_duration(since_ns)}' if rule.since_ns and since_ns >= NANOSECONDS else ''
    if rule.state is State.ACTIVE:
        return Line(f'{name}{since} ({share})', Tone.ALARM)
    if rule.state is State.HEALING:
        return Line(f'{name} ends ({share})', Tone.ALARM)
    if rule.state is State.PENDING:
        return Line(f'{name}? ({share})', Tone.WARN)
    if rule.state is State.INACTIVE:
        return Line(f'{name} no ({share})', Tone.FAINT)
    words = 'unknown' if rule.state is State.UNKNOWN else 'disabled'
    reason = f': {_one_line(rule.reason)}' if rule.reason else ''
    return Line(f'{name} {words}{reason}', Tone.FAINT)


def _one_line(text: str) -> str:
    return ' '.join(cleaned(text).split())


def _duration(nanoseconds: int) -> str:
    seconds = nanoseconds // NANOSECONDS
    if seconds < 120:
        return f'{seconds} s'
    return f'{seconds // 60} min' if seconds < 7200 else f'{seconds // 3600} h'
