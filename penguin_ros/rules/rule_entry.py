# SPDX-License-Identifier: Apache-2.0
"""A rule as an entry of a YAML file, and back: each field by its name, durations in seconds.

An entry is read as texts, so that `yes`, `on` and `12:30` stay what they are, and nothing in it can
make objects.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import yaml

from penguin_ros.errors import InvalidRule
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rules.rule import Rule, Severity

MAX_ENTRY_CHARACTERS, MAX_DEPTH = 65536, 8
_TEXTS = ('id', 'condition', 'firing_choice')
_LISTS = ('cameras', 'choices', 'valid_times')
_COUNTS = ('confirm_count', 'confirm_window', 'heal_count', 'heal_window')
_SHARES = ('threshold_begin', 'threshold_end')
_DURATIONS = ('period', 'clip', 'min_duration', 'cooldown')
_SWITCHES = ('wants_picture', 'is_uncalibrated', 'is_disabled')
KEYS: tuple[str, ...] = (
    *('id', 'condition', 'cameras', 'choices', 'firing_choice', *_SHARES, *_COUNTS, *_DURATIONS),
    *('valid_times', 'severity', *_SWITCHES),
)
"""The fields in the order in which they are written."""
_BOOLEANS = {'true': True, 'yes': True, 'on': True, 'false': False, 'no': False, 'off': False}
_PLAIN = re.compile(r'[A-Za-z][A-Za-z0-9_.-]*')
_NOT_PRINTABLE = re.compile('[\u2028\u2029\ufeff\ufffe\uffff]')


class _TextLoader(yaml.BaseLoader):  # type: ignore[misc]
    """Makes texts, lists and mappings; refuses keys that come twice, lists in lists in lists, and
    aliases, with which a short file says a very long one.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('aliases are not taken')
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError('it is nested too deeply')
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f'{name[:64]!r} is there twice')
        return super().construct_mapping(node, deep)


def parsed(text: str) -> Any:
    """Returns what a piece of YAML says, with texts for all scalars; InvalidRule when it says
    nothing.
    """
    if len(text) > MAX_ENTRY_CHARACTERS:
        raise InvalidRule(
            f'an entry of {len(text)} characters', f'{MAX_ENTRY_CHARACTERS} are taken'
        )
    try:
        return yaml.load(text, _TextLoader)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        problem = getattr(error, 'problem', None) or str(error) or type(error).__name__
        raise InvalidRule('an entry is no YAML', ' '.join(str(problem).split())[:200]) from error


def rule_from(entry: Any) -> Rule:
    """Returns the rule of a parsed entry, whose numbers and texts are not checked yet. InvalidRule
    names the first field that is unknown or of another type.
    """
    if not isinstance(entry, dict):
        raise InvalidRule('an entry is no rule', 'it has no fields, such as id: and condition:')
    label = _label(entry)
    for key in entry:
        if key not in KEYS:
            shown = str(key)[:64] if isinstance(key, str) else 'that is no text'
            raise InvalidRule(f'{label} has a field {shown}', f'the fields are {", ".join(KEYS)}')
    for key in ('id', 'condition'):
        if key not in entry:
            raise InvalidRule(f'{label} has no {key}', 'each rule needs an id and a condition')
    fields: dict[str, Any] = {}
    for key, value in entry.items():
        name = f'{key}_ns' if key in _DURATIONS else key
        try:
            fields[name] = _field(key, value)
        except ValueError as error:
            shown = repr(value[:64]) if isinstance(value, str) else f'a {type(value).__name__}'
            raise InvalidRule(f'{label}: {key} = {shown}', str(error)) from error
    return Rule(**fields)


def entry_of(rule: Rule) -> dict[str, Any]:
    """Returns what `rule_from` reads, as texts and lists of texts; fields that have the value of an
    empty rule are left out.
    """
    entry: dict[str, Any] = {}
    for key in KEYS:
        value = getattr(rule, f'{key}_ns' if key in _DURATIONS else key)
        if not value and key not in ('id', 'condition'):
            continue
        if key in _LISTS:
            entry[key] = [str(one) for one in value]
        elif key in _DURATIONS:
            entry[key] = _number(value / NANOSECONDS)
        elif key in _SHARES:
            entry[key] = _number(round(value, 6))
        elif key == 'severity':
            entry[key] = Severity(value).name.lower() if value in tuple(Severity) else str(value)
        else:
            entry[key] = 'true' if value is True else str(value)
    return entry


def written(key: str, value: Any) -> str:
    """Returns `key: value` as a line of YAML, without the line's end."""
    is_bare = key not in _TEXTS and key not in _LISTS
    if isinstance(value, list):
        return f'{key}: [{", ".join(map(_quoted, value))}]'
    return f'{key}: {value if is_bare else _quoted(value)}'


def _field(key: str, value: Any) -> Any:
    if key in _LISTS:
        texts = [value] if isinstance(value, str) and value else value
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise ValueError('it takes a list of texts: [one, other]')
        return tuple(texts)
    if not isinstance(value, str):
        raise ValueError('it takes a single value')
    if key in _TEXTS:
        return value
    if key in _COUNTS:
        return _whole(value)
    if key in _SWITCHES:
        if value.lower() not in _BOOLEANS:
            raise ValueError('it takes true or false')
        return _BOOLEANS[value.lower()]
    if key == 'severity':
        names = {one.name.lower(): int(one) for one in Severity}
        return names[value.lower()] if value.lower() in names else _whole(value)
    number = _finite(value)
    return round(number * NANOSECONDS) if key in _DURATIONS else number


def _whole(text: str) -> int:
    if not re.fullmatch(r'[+-]?[0-9]{1,12}', text.strip()):
        raise ValueError('it takes a whole number')
    return int(text)


def _finite(text: str) -> float:
    try:
        number = float(text) if len(text) < 32 and '_' not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e9:
        raise ValueError('it takes a number')
    return number


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _BOOLEANS and text.lower() != 'null':
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda found: f'\\u{ord(found[0]):04x}', quoted)


def _label(entry: dict[Any, Any]) -> str:
    name = entry.get('id')
    return f'rule {name[:64]}' if isinstance(name, str) and name.isprintable() else 'a rule'
