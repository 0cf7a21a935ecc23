# SPDX-License-Identifier: Apache-2.0
"""`penguin watch`: captions and answers of a running node as they come. Knows the topics through the session only."""
from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import Any

from penguin_ros.cli import exits
from penguin_ros.cli.terminal import status_line

EPILOG = """examples:
  penguin watch
  penguin watch --node /robot1/penguin --json | jq .text
  penguin watch --count 1 --seconds 30     # exit code 1 when no caption came in 30 s"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument('--node', default='', help='full name of the node, when several run')
    parser.add_argument('--seconds', type=float, default=math.inf, metavar='S', help='stop after S seconds')
    parser.add_argument('--count', type=int, default=0, metavar='N', help='stop after N captions')
    parser.add_argument('--json', action='store_true', help='one JSON object per message, with the evidence')


def run(arguments: argparse.Namespace) -> int:
    """Runs until stopped; exit code 1 when captions were counted and too few came in time."""
    from penguin_ros.ros.message_check import require_messages
    require_messages()
    from penguin_ros.ros.session import session
    with session('penguin_watch') as client_session:
        name = client_session.find_node(arguments.node)
        status_line(f'watching {name}')
        watcher = Watcher(client_session.node, name, json_lines if arguments.json else plain_lines)
        try:
            client_session.spin_until(lambda: 0 < arguments.count <= watcher.captions, arguments.seconds)
        except KeyboardInterrupt:
            return exits.DONE  # the ordinary way to end a watch
        return exits.FAILED if watcher.captions < arguments.count else exits.DONE


class Watcher:
    """Subscribes to captions and answers of the node `name` and prints each through `line`."""

    def __init__(self, node: Any, name: str, line: Callable[[str, Any], str]) -> None:
        from penguin_msgs.msg import Answer, Caption
        from rclpy.qos import QoSProfile
        self.captions = 0
        self._line = line
        node.create_subscription(Caption, f'{name}/caption', self._on_caption, QoSProfile(depth=256))
        node.create_subscription(Answer, f'{name}/answer', lambda message: print(self._line('answer', message), flush=True),
                                 QoSProfile(depth=256))

    def _on_caption(self, message: Any) -> None:
        self.captions += 1
        print(self._line('caption', message), flush=True)


def json_lines(kind: str, message: Any) -> str:
    """One JSON object; times as integer nanoseconds, durations as seconds."""
    from penguin_ros.ros.message_records import record
    return json.dumps({'kind': kind, **record(message)}, ensure_ascii=False)


def plain_lines(kind: str, message: Any) -> str:
    """`camera [start - end] text` for a caption, question and answer for an answer."""
    evidence = message.evidence
    stamps = f'{message.camera or "-"} [{_stamp(evidence.start)} – {_stamp(evidence.end)}]'
    text = message.text if not message.error_code else f'({message.error_message}) {message.text}'.rstrip()
    if kind != 'caption':
        return f'{stamps} Q: {message.question}\n  A: {text}'
    is_unchanged = message.state == message.UNCHANGED
    return f'{stamps} unchanged since {_stamp(evidence.unchanged_since)}: {text}' if is_unchanged else f'{stamps} {text}'


def _stamp(time: Any) -> str:
    return f'{time.sec}.{time.nanosec // 1_000_000:03d}'
