# SPDX-License-Identifier: Apache-2.0
"""Options that are settings of config.py, shared by the verbs that run a model.

Their texts, units and defaults come from config.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping

from penguin_ros.config import RENAMED_SETTINGS, PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.settings import settings, with_current_names, with_values

MODEL_OPTIONS = {
    '--checkpoint': 'model.checkpoint',
    '--bundle': 'model.bundle',
    '--backend': 'model.backend',
    '--device': 'model.device',
    '--precision': 'model.precision',
}

SMALLEST = 28
"""The smallest width and height of an image, in pixels."""


def add_setting_options(parser: argparse.ArgumentParser, options: dict[str, str]) -> None:
    """Adds an option for each of the settings, named by `options`, and `--set` for all others."""
    known = settings(PenguinConfig())
    for option, name in options.items():
        default, facts = known[name]
        unit = f' [{facts.unit}]' if facts.unit else ''
        shown = f' (default: {default})' if default != '' else ''
        parser.add_argument(
            option,
            dest=name,
            type=type(default),
            choices=facts.choices or None,
            metavar=None if facts.choices else 'X',
            help=f'{facts.text}{unit}{shown}'.replace('%', '%%'),
        )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        dest='assignments',
        help='any other setting by its name in docs/parameters.md, e.g. --set visual.policy=fixed',
    )


def config_from(arguments: argparse.Namespace, base: PenguinConfig | None = None) -> PenguinConfig:
    """Returns `base` with the settings that were given; SettingError for one that is unknown or out
    of range. A setting given by its old name is warned about on stderr.
    """
    values: dict[str, object] = {
        name: value for name, value in vars(arguments).items() if '.' in name and value is not None
    }
    for assignment in arguments.assignments:
        name, equals, text = assignment.partition('=')
        if not equals:
            raise SettingError(f'--set {assignment}', 'it takes NAME=VALUE')
        values[name] = _parsed(RENAMED_SETTINGS.get(name, name), text)
    values, warnings = with_current_names(values, RENAMED_SETTINGS)
    for warning in warnings:
        print(f'warning: {warning}', file=sys.stderr)
    return with_values(base or PenguinConfig(), values)


def seconds(text: str) -> float:
    """Reads a time or another number from 0 on that an option takes; for argparse."""
    return _number_from_0(text, is_endless=False)


def endless_seconds(text: str) -> float:
    """Reads a time from 0 on, or `inf`; for argparse."""
    return _number_from_0(text, is_endless=True)


def _number_from_0(text: str, is_endless: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value < 0 or (math.isinf(value) and not is_endless):
        raise argparse.ArgumentTypeError(
            f'{text!r}: it takes a number from 0 on' + (', or inf' if is_endless else '')
        )
    return value


def require_least(arguments: argparse.Namespace, least: Mapping[str, float]) -> None:
    """Raises SettingError when an option is below its smallest value in `least`."""
    for name, smallest in least.items():
        value = getattr(arguments, name)
        if value < smallest:
            option = f'--{name.replace("_", "-")} {value}'
            raise SettingError(option, f'it takes {smallest} or more')


def image_size(text: str, largest: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) that `--size` gives as text; SettingError when it is no size or out of
    range.
    """
    width, _, height = text.partition('x')
    sizes = [int(size) for size in (width, height) if size.isdecimal()]
    if len(sizes) < 2 or not all(
        SMALLEST <= size <= limit for size, limit in zip(sizes, largest, strict=True)
    ):
        limits = f'{SMALLEST}x{SMALLEST} to {largest[0]}x{largest[1]}'
        raise SettingError(f'--size {text}', f'it takes WIDTHxHEIGHT in pixels, from {limits}')
    return sizes[0], sizes[1]


def _parsed(name: str, text: str) -> object:
    default = settings(PenguinConfig()).get(name, ('', None))[0]
    try:
        if isinstance(default, bool):
            return {'true': True, 'false': False}[text.lower()]
        return type(default)(text)
    except (ValueError, KeyError):
        return text  # the check of the setting names what it takes
