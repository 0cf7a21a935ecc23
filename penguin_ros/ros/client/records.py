# SPDX-License-Identifier: Apache-2.0
"""Captions and answers as plain JSON values, for scripts that read our output. Knows message fields
by name only.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.frame import NANOSECONDS


def record(message: Any) -> Any:
    """Any message as dictionaries, lists and numbers; times as integer nanoseconds, durations as
    seconds.
    """
    if isinstance(message, (list, tuple)):
        return [record(item) for item in message]
    fields = getattr(message, 'get_fields_and_field_types', None)
    if fields is None:
        return message
    kind = type(message).__name__
    if kind == 'Time':
        return stamp_ns(message)
    if kind == 'Duration':
        return message.sec + message.nanosec / NANOSECONDS
    return {name: record(getattr(message, name)) for name in fields()}


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time as integer nanoseconds."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def seconds(duration: Any) -> float:
    """A builtin_interfaces/Duration in seconds."""
    return float(duration.sec + duration.nanosec / NANOSECONDS)
