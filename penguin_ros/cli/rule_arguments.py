# SPDX-License-Identifier: Apache-2.0
"""The options of `penguin rules` that say what a rule is, and the fields of a rule of them."""

from __future__ import annotations

import argparse
from typing import Any

from penguin_ros.cli.setting_options import seconds

SEVERITIES = ('ok', 'warn', 'error')
_NUMBERS = (
    ('--begin', 'threshold_begin', 'begins at this probability'),
    ('--end', 'threshold_end', 'ends below this probability'),
)
_COUNTS = (
    ('--confirm', 'confirm', 'so many of the last evaluations begin an event, as 2/3'),
    ('--heal', 'heal', 'so many of the last evaluations end it, as 2/3'),
)
_DURATIONS = (
    ('--period', 'period', 'seconds from one evaluation to the next'),
    ('--clip', 'clip', 'seconds of frames that an evaluation looks at'),
    ('--min-duration', 'min_duration', 'seconds for which it has held before an event begins'),
    ('--cooldown', 'cooldown', 'seconds from the end of an event to the next one'),
)


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; those that are left out leave the node's defaults."""
    parser.add_argument(
        '--camera', action='append', default=[], help='camera; may be repeated (default: all)'
    )
    parser.add_argument(
        '--choice', action='append', default=[], help='an answer to choose from; repeat it'
    )
    parser.add_argument('--fires', default='', metavar='CHOICE', help='the choice that counts')
    for option, name, text in _NUMBERS:
        parser.add_argument(option, type=float, default=0.0, dest=name, metavar='P', help=text)
    for option, name, text in _COUNTS:
        parser.add_argument(
            option, type=_share, default=(0, 0), metavar='N/M', dest=name, help=text
        )
    for option, name, text in _DURATIONS:
        parser.add_argument(option, type=seconds, default=0.0, dest=name, metavar='S', help=text)
    parser.add_argument(
        '--valid',
        action='append',
        default=[],
        metavar='TIMES',
        help="when it counts, as 'mon-fri 08:00-18:00'; may be repeated",
    )
    parser.add_argument('--severity', choices=SEVERITIES, default='ok', help='of its events')
    parser.add_argument('--picture', action='store_true', help='events carry a picture')
    parser.add_argument(
        '--uncalibrated', action='store_true', help='take the probability as the model gives it'
    )
    parser.add_argument('--disabled', action='store_true', help='keep it, but do not evaluate it')


def rule_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of penguin_msgs/Rule, durations in seconds."""
    fields = {name: getattr(arguments, name) for _, name, _ in (*_NUMBERS, *_DURATIONS)}
    for _, name, _ in _COUNTS:
        fields[f'{name}_count'], fields[f'{name}_window'] = getattr(arguments, name)
    return {
        'id': arguments.id,
        'condition': arguments.condition,
        'cameras': arguments.camera,
        'choices': arguments.choice,
        'firing_choice': arguments.fires,
        'valid_times': arguments.valid,
        'severity': SEVERITIES.index(arguments.severity),
        'wants_picture': arguments.picture,
        'is_uncalibrated': arguments.uncalibrated,
        'is_disabled': arguments.disabled,
        **fields,
    }


def _share(text: str) -> tuple[int, int]:
    count, _, window = text.partition('/')
    if not (count.isdecimal() and window.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is not like 2/3')
    return int(count), int(window)
