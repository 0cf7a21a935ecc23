# SPDX-License-Identifier: Apache-2.0
"""What a browser may ask for: one JSON object per message, checked field by field before anything
else sees it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH_TEXT = 64 * 1024

FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    'ask': {
        'node': str,
        'question': str,
        'camera': str,
        'last': (int, float),
        'choices': list,
        'conversation': str,
        'max_tokens': int,
    },
    'cancel': {'request': int},
    'look': {'node': str, 'camera': str, 'rate': (int, float), 'width': int},
    'look_away': {'node': str, 'camera': str},
    'drawn': {'node': str, 'camera': str, 'number': int},
    'entries': {'before': int, 'words': str, 'kinds': list},
    'series': {'node': str},
    'rules': {'node': str},
    'set_rule': {'node': str, 'rule': dict},
    'remove_rule': {'node': str, 'rule': str},
    'test_rule': {'node': str, 'rule': dict, 'camera': str},
    'recall': {'node': str, 'words': str, 'last': (int, float), 'camera': str, 'page': str},
    'parameters': {'node': str},
    'set_parameter': {'node': str, 'name': str, 'value': (bool, int, float, str, list)},
}
"""What each command may carry, by name; every field may be left out."""

CHANGES = frozenset({'set_rule', 'remove_rule', 'set_parameter'})
"""Commands that change the robot's state: refused in read-only mode."""

QUESTIONS = frozenset({'ask', 'test_rule'})
"""Commands that cost the model's time: refused in read-only mode too."""

AUDITED = CHANGES | QUESTIONS | {'recall'}
"""Commands that are written down, and limited in rate."""


class BadCommand(Exception):
    """Why a message of a browser is refused, in words for its page."""


@dataclass(frozen=True)
class Command:
    """`id` is the browser's number for it, which every reply carries."""

    id: int
    name: str
    fields: Mapping[str, Any]


def parsed(text: str) -> Command:
    """Returns the command of one message; BadCommand when it is none."""
    if len(text) > MAX_DEPTH_TEXT:
        raise BadCommand(f'a message may have {MAX_DEPTH_TEXT} characters')
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCommand('a message is one JSON object') from None
    if not isinstance(message, dict):
        raise BadCommand('a message is one JSON object')
    number, name = message.pop('id', None), message.pop('do', None)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**53:
        raise BadCommand('`id` is a whole number')
    if not isinstance(name, str) or name not in FIELDS:
        raise BadCommand(f'`do` is one of {", ".join(sorted(FIELDS))}')
    for field, value in message.items():
        _check(name, field, value)
    return Command(number, name, message)


def _check(name: str, field: str, value: object) -> None:
    kinds = FIELDS[name].get(field)
    if kinds is None:
        raise BadCommand(f'{name} has no field {field[:40]!r}')
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    is_wrong_bool = isinstance(value, bool) and bool not in wanted
    if is_wrong_bool or not isinstance(value, wanted):
        names = ' or '.join(kind.__name__ for kind in wanted)
        raise BadCommand(f'{field} of {name} is a {names}')
    if isinstance(value, float) and not -1e18 < value < 1e18:
        raise BadCommand(f'{field} of {name} is out of range')
