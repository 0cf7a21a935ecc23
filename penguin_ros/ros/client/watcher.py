# SPDX-License-Identifier: Apache-2.0
"""Prints the captions and answers of a running node as they come, as plain lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from penguin_ros.ros.client.message_dict import message_dict


class Watcher:
    """Subscribes to the captions and answers of the node `name` and prints the `line` of each.

    `line` is `plain_lines` or `json_lines`; `captions` counts the captions that came.
    """

    def __init__(self, node: Any, name: str, line: Callable[[str, Any], str]) -> None:
        from penguin_msgs.msg import Answer, Caption
        from rclpy.qos import QoSProfile

        self.captions = 0
        self._line = line
        node.create_subscription(
            Caption, f'{name}/caption', self._on_caption, QoSProfile(depth=256)
        )
        node.create_subscription(
            Answer,
            f'{name}/answer',
            lambda message: print(self._line('answer', message), flush=True),
            QoSProfile(depth=256),
        )

    def _on_caption(self, message: Any) -> None:
        self.captions += 1
        print(self._line('caption', message), flush=True)


def json_lines(kind: str, message: Any) -> str:
    """Returns one JSON object on a line; times are integer nanoseconds, durations seconds."""
    return json.dumps({'kind': kind, **message_dict(message)}, ensure_ascii=False)


def plain_lines(kind: str, message: Any) -> str:
    """Returns `camera [start - end] text` for a caption, and question and answer for an answer."""
    evidence = message.evidence
    stamps = f'{message.camera or "-"} [{_stamp(evidence.start)} – {_stamp(evidence.end)}]'
    text = message.text
    if message.error_code:
        text = f'({message.error_message}) {text}'.rstrip()
    if kind != 'caption':
        return f'{stamps} Q: {message.question}\n  A: {text}'
    if message.state == message.UNCHANGED:
        return f'{stamps} unchanged since {_stamp(evidence.unchanged_since)}: {text}'
    return f'{stamps} {text}'


def _stamp(time: Any) -> str:
    return f'{time.sec}.{time.nanosec // 1_000_000:03d}'
