# SPDX-License-Identifier: Apache-2.0
"""A rule: a condition that is evaluated again and again, and when its probability makes an event.

The fields are those of penguin_msgs/Rule. A number that is zero stands for the default of the
settings `rule.*`, until `checked_rule` has filled it in.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import InvalidRule, UnknownCamera
from penguin_ros.frame import NANOSECONDS
from penguin_ros.rule_config import RuleConfig
from penguin_ros.rules.valid_times import parsed_valid_times
from penguin_ros.text import cleaned

MAX_ID_CHARACTERS = 64
MAX_CAMERAS, MAX_VALID_TIMES, MAX_CHOICES = 64, 32, 64
MAX_CHOICE_CHARACTERS = 256
MAX_EVALUATIONS = 100
"""The longest window of evaluations that is counted in."""
LONGEST_NS = 7 * 86400 * NANOSECONDS
SHORTEST_PERIOD_NS = 50_000_000
_ID = re.compile(r'[A-Za-z0-9_.-]{1,64}')


class Severity(IntEnum):
    """How bad an event is, with the levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Rule:
    """A condition and when it makes an event; durations in nanoseconds. `condition` is a question
    that is answered with yes or no, a statement, or the question that `choices` answer, of which
    `firing_choice` counts. Without `cameras` it is evaluated on all of them.
    """

    id: str
    condition: str
    cameras: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    firing_choice: str = ''
    threshold_begin: float = 0.0
    threshold_end: float = 0.0
    confirm_count: int = 0
    confirm_window: int = 0
    heal_count: int = 0
    heal_window: int = 0
    period_ns: int = 0
    clip_ns: int = 0
    min_duration_ns: int = 0
    cooldown_ns: int = 0
    valid_times: tuple[str, ...] = ()
    severity: int = Severity.OK
    wants_picture: bool = False
    is_uncalibrated: bool = False
    is_disabled: bool = False

    def watches(self, camera: str) -> bool:
        """Returns whether the rule is evaluated on the camera."""
        return not self.cameras or camera in self.cameras


def checked_rule(rule: Rule, config: PenguinConfig, cameras: Sequence[str] | None = None) -> Rule:
    """Returns the rule with its defaults filled in and its texts cleaned.

    Raises InvalidRule, which names the first field that does not fit, and UnknownCamera for one
    that is not among `cameras`; without `cameras` any name will do.
    """
    _check_id(rule.id)
    condition = _checked_condition(rule, config.question.max_characters)
    _check_cameras(rule, cameras)
    choices = tuple(map(cleaned, rule.choices))
    rule = dataclasses.replace(
        rule, condition=condition, choices=choices, firing_choice=cleaned(rule.firing_choice)
    )
    _check_choices(rule)
    _check_valid_times(rule)
    if rule.severity not in tuple(Severity):
        raise _invalid(rule, 'severity', rule.severity, 'it takes 0 (OK), 1 (WARN) or 2 (ERROR)')
    return _with_numbers(rule, config)


def with_defaults(rule: Rule, config: PenguinConfig) -> Rule:
    """Returns the rule with the settings in place of its zeros; nothing is checked."""
    given = config.rule
    clip = given.clip or config.clip.seconds
    defaults: dict[str, float] = {
        'confirm_count': given.confirm_count,
        'confirm_window': given.confirm_window,
        'heal_count': given.heal_count,
        'heal_window': given.heal_window,
        'threshold_begin': given.threshold_begin,
        'threshold_end': given.threshold_end,
        'period_ns': round(given.period * NANOSECONDS),
        'clip_ns': round(clip * NANOSECONDS),
        'min_duration_ns': round(given.min_duration * NANOSECONDS),
        'cooldown_ns': round(given.cooldown * NANOSECONDS),
    }
    # A rule that names one of two numbers which go together leaves the other at what fits.
    if rule.confirm_count and not rule.confirm_window:
        defaults['confirm_window'] = max(rule.confirm_count, given.confirm_window)
    elif rule.confirm_window and not rule.confirm_count:
        defaults['confirm_count'] = min(rule.confirm_window, given.confirm_count)
    if rule.heal_count and not rule.heal_window:
        defaults['heal_window'] = max(rule.heal_count, given.heal_window)
    elif rule.heal_window and not rule.heal_count:
        defaults['heal_count'] = min(rule.heal_window, given.heal_count)
    if rule.threshold_begin and not rule.threshold_end:
        defaults['threshold_end'] = min(rule.threshold_begin, given.threshold_end)
    elif rule.threshold_end and not rule.threshold_begin:
        defaults['threshold_begin'] = max(rule.threshold_end, given.threshold_begin)
    changes: dict[str, Any] = {
        name: value for name, value in defaults.items() if not getattr(rule, name)
    }
    return dataclasses.replace(rule, **changes)


def _with_numbers(rule: Rule, config: PenguinConfig) -> Rule:
    for name in ('threshold_begin', 'threshold_end'):
        value = getattr(rule, name)
        if not (math.isfinite(value) and 0.0 <= value <= 1.0):
            raise _invalid(rule, name, value, 'it takes a probability from 0 to 1')
        # A message carries 32 bits: 0.7 comes as 0.699999988.
        rule = dataclasses.replace(rule, **{name: round(value, 6)})
    for name in ('confirm_count', 'confirm_window', 'heal_count', 'heal_window'):
        _check_range(rule, name, 0, MAX_EVALUATIONS, 'evaluations')
    for name in ('period_ns', 'clip_ns', 'min_duration_ns', 'cooldown_ns'):
        _check_range(rule, name, 0, LONGEST_NS, 'ns')
    rule = with_defaults(rule, config)
    _check_range(rule, 'period_ns', SHORTEST_PERIOD_NS, LONGEST_NS, 'ns')
    longest_clip_ns = round(config.buffer.seconds * NANOSECONDS)
    if rule.clip_ns > longest_clip_ns:
        why = f'the buffer keeps {config.buffer.seconds} s (buffer.seconds)'
        raise _invalid(rule, 'clip', f'{rule.clip_ns / NANOSECONDS} s', why)
    for less, more in RuleConfig.ORDERED:
        if getattr(rule, less) > getattr(rule, more):
            why = f'{more} is {getattr(rule, more)}, which is less'
            raise _invalid(rule, less, getattr(rule, less), why)
    return rule


def _check_range(rule: Rule, name: str, low: int, high: int, unit: str) -> None:
    value = getattr(rule, name)
    if not low <= value <= high:
        label = name.removesuffix('_ns')
        raise _invalid(rule, label, f'{value} {unit}', f'it takes {low} to {high} {unit}')


def _check_id(rule_id: str) -> None:
    if not _ID.fullmatch(rule_id):
        shown = cleaned(rule_id[:MAX_ID_CHARACTERS])
        raise InvalidRule(
            f'a rule cannot be called {shown!r}',
            f'an id has 1 to {MAX_ID_CHARACTERS} of the characters A-Z a-z 0-9 _ - .',
            'Choose another id',
        )


def _checked_condition(rule: Rule, max_characters: int) -> str:
    if len(rule.condition) > max_characters:
        raise InvalidRule(
            f'the condition of rule {rule.id} has {len(rule.condition)} characters',
            f'{max_characters} are taken (question.max_characters)',
            'Say it more briefly',
        )
    condition = cleaned(rule.condition).strip()
    if not condition:
        raise InvalidRule(
            f'the condition of rule {rule.id} is empty',
            'there is nothing but white space and control characters in it',
            'Give a question that is answered with yes or no, or a statement',
        )
    return condition


def _check_cameras(rule: Rule, cameras: Sequence[str] | None) -> None:
    if len(rule.cameras) > MAX_CAMERAS:
        raise _invalid(rule, 'cameras', f'{len(rule.cameras)} names', f'{MAX_CAMERAS} are taken')
    if len(set(rule.cameras)) < len(rule.cameras) or '' in rule.cameras:
        raise _invalid(rule, 'cameras', list(rule.cameras), 'a name is empty or there twice')
    for camera in rule.cameras if cameras is not None else ():
        if camera not in (cameras or ()):
            raise UnknownCamera(
                f'rule {rule.id} is about a camera {cleaned(camera[:MAX_ID_CHARACTERS])!r}',
                f'the cameras are {", ".join(map(repr, cameras or ()))}',
                'Name one of those, or none for all of them',
            )


def _check_choices(rule: Rule) -> None:
    if not rule.choices:
        if rule.firing_choice:
            why = 'there are no choices'
            raise _invalid(rule, 'firing_choice', rule.firing_choice, why)
        return
    if not 2 <= len(rule.choices) <= MAX_CHOICES:
        why = f'it takes 2 to {MAX_CHOICES}'
        raise _invalid(rule, 'choices', f'{len(rule.choices)} choices', why)
    if any(not 0 < len(choice.strip()) <= MAX_CHOICE_CHARACTERS for choice in rule.choices):
        why = f'each takes 1 to {MAX_CHOICE_CHARACTERS} characters'
        raise _invalid(rule, 'choices', '...', why)
    if len({choice.strip().casefold() for choice in rule.choices}) < len(rule.choices):
        raise _invalid(rule, 'choices', '...', 'one of them is there twice')
    if rule.firing_choice not in rule.choices:
        why = 'it is none of the choices'
        raise _invalid(rule, 'firing_choice', rule.firing_choice, why)


def _check_valid_times(rule: Rule) -> None:
    if len(rule.valid_times) > MAX_VALID_TIMES:
        why = f'{MAX_VALID_TIMES} are taken'
        raise _invalid(rule, 'valid_times', f'{len(rule.valid_times)} times', why)
    try:
        parsed_valid_times(rule.valid_times)
    except ValueError as error:
        raise InvalidRule(
            f'rule {rule.id}: valid_times',
            str(error),
            "Write them as 'mon-fri 08:00-18:00', '22:00-06:00' or 'sat,sun'",
        ) from error


def _invalid(rule: Rule, field: str, value: object, why: str) -> InvalidRule:
    return InvalidRule(f'rule {rule.id}: {field} = {str(value)[:80]!r}', why)
