# SPDX-License-Identifier: Apache-2.0
"""Prints the captions and answers of a running node as they come, as plain lines or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class Watcher:
    """Subscribes to captions and answers of the node `name` and prints each through `line`."""

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
    """One JSON object; times as integer nanoseconds, durations as seconds."""
    from penguin_ros.ros.client.records import record

    return json.dumps({'kind': kind, **record(message)}, ensure_ascii=False)


def plain_lines(kind: str, message: Any) -> str:
    """`camera [start - end] text` for a caption, question and answer for an answer."""
    evidence = message.evidence
    stamps = f'{message.camera or "-"} [{_stamp(evidence.start)} – {_stamp(evidence.end)}]'
    text = (
        message.text
        if not message.error_code
        else f'({message.error_message}) {message.text}'.rstrip()
    )
    if kind != 'caption':
        return f'{stamps} Q: {message.question}\n  A: {text}'
    is_unchanged = message.state == message.UNCHANGED
    return (
        f'{stamps} unchanged since {_stamp(evidence.unchanged_since)}: {text}'
        if is_unchanged
        else f'{stamps} {text}'
    )


def _stamp(time: Any) -> str:
    return f'{time.sec}.{time.nanosec // 1_000_000:03d}'
