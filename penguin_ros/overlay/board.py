# SPDX-License-Identifier: Apache-2.0
"""What is known of one camera now: its newest caption and the states of its rules.

Values are replaced whole, so that one thread may write while another reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from penguin_ros.rules.event import State


@dataclass(frozen=True)
class CaptionShown:
    """A caption and the stamp of the newest frame that it is about.

    `error` says why there is no text; `is_cut` that the text ends before its end.
    """

    text: str
    end_ns: int
    is_cut: bool = False
    error: str = ''


@dataclass(frozen=True)
class RuleShown:
    """How a rule is doing; `since_ns` is a stamp of a frame, 0 when nothing was evaluated yet."""

    rule: str
    state: State
    probability: float
    since_ns: int
    reason: str = ''


@dataclass
class Board:
    """The newest of everything about one camera."""

    caption: CaptionShown | None = None
    rules: tuple[RuleShown, ...] = field(default=())

    def clear(self) -> None:
        """Forgets all, since time has jumped or the node is another one."""
        self.caption, self.rules = None, ()
