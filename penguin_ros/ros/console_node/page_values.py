# SPDX-License-Identifier: Apache-2.0
"""Messages as values for a page: JavaScript's numbers hold 53 bits, so stamps are strings."""

from __future__ import annotations

import array
from collections.abc import Mapping
from typing import Any

from penguin_ros.frame import NANOSECONDS, to_nanoseconds

SAFE = 2**53
DURATIONS = ('period', 'clip', 'min_duration', 'cooldown')
"""Fields of a rule that are durations: seconds for the page."""


def page_value(message: Any) -> Any:
    """Returns a message as dictionaries, lists, texts and numbers: stamps in nanoseconds as text,
    durations in seconds, pictures as their number of bytes.
    """
    if isinstance(message, (list, tuple, array.array)):
        return [page_value(item) for item in message]
    fields = getattr(message, 'get_fields_and_field_types', None)
    if fields is None:
        is_large = isinstance(message, int) and not -SAFE < message < SAFE
        return str(message) if is_large else message
    kind = type(message).__name__
    if kind == 'Time':
        return str(to_nanoseconds(message))
    if kind == 'Duration':
        return to_nanoseconds(message) / NANOSECONDS
    if kind == 'CompressedImage':
        return {'bytes': len(message.data), 'stamp': str(to_nanoseconds(message.header.stamp))}
    return {name: page_value(getattr(message, name)) for name in fields()}


def rule_of_page(fields: Mapping[str, Any], empty: Any) -> Any:
    """Fills the message `empty`, a penguin_msgs/Rule, with what a page gave; ValueError names a
    field that is none, or a value that does not fit.
    """
    from penguin_ros.ros.conversions.times import duration_message

    known = empty.get_fields_and_field_types()
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f'a rule has no field {name[:40]!r}')
        try:
            if name in DURATIONS:
                value = duration_message(round(float(value) * NANOSECONDS))
            elif known[name] == 'float':
                value = float(value)
            setattr(empty, name, value)
        except (AssertionError, TypeError, ValueError, OverflowError):
            raise ValueError(f'{name} of a rule is a {known[name]}') from None
    return empty
