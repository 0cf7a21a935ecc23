# SPDX-License-Identifier: Apache-2.0
"""Converts captions and rule states to what is shown of them over pictures."""

from __future__ import annotations

from penguin_msgs.msg import Caption, RuleStates

from penguin_ros.frame import to_nanoseconds
from penguin_ros.overlay.board import CaptionShown, RuleShown
from penguin_ros.rules.event import State


def caption_shown(message: Caption) -> CaptionShown:
    """Returns what of a caption is shown."""
    stamp = message.evidence.end if message.evidence.frames else message.header.stamp
    return CaptionShown(
        message.text,
        to_nanoseconds(stamp),
        message.state == Caption.PARTIAL,
        message.error_message if message.state == Caption.ERROR else '',
    )


def rules_shown(message: RuleStates, camera: str) -> tuple[RuleShown, ...]:
    """Returns how rules are doing on a camera."""
    return tuple(
        RuleShown(
            state.rule,
            State(state.state),
            float(state.probability),
            to_nanoseconds(state.since),
            state.reason,
        )
        for state in message.states
        if state.camera == camera
    )
