# SPDX-License-Identifier: Apache-2.0
"""Captions and answers as plain JSON values, for scripts that read what the command line prints."""

from __future__ import annotations

import array
from typing import Any

from penguin_ros.frame import NANOSECONDS, to_nanoseconds


def message_dict(message: Any) -> Any:
    """Returns any message as dictionaries, lists and numbers.

    Times become integer nanoseconds, durations seconds.
    """
    if isinstance(message, (list, tuple, array.array)):
        return [message_dict(item) for item in message]
    if hasattr(message, 'tolist'):  # an array of numbers
        return message.tolist()
    fields = getattr(message, 'get_fields_and_field_types', None)
    if fields is None:
        return message
    kind = type(message).__name__
    if kind == 'Time':
        return to_nanoseconds(message)
    if kind == 'Duration':
        return duration_seconds(message)
    return {name: message_dict(getattr(message, name)) for name in fields()}


def duration_seconds(duration: Any) -> float:
    """Returns a builtin_interfaces/Duration in seconds."""
    return to_nanoseconds(duration) / NANOSECONDS
