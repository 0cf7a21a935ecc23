# SPDX-License-Identifier: Apache-2.0
"""Times as people type them when they ask about the past, and options that choose entries of a
memory by them.
"""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timezone

from penguin_ros.errors import SettingError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Kind
from penguin_ros.memory.filter import MAX_STAMP_NS, Filter, Interval, Place
from penguin_ros.memory.retention import TIME_OF_DAY_NS

UNITS = {'s': 1, 'min': 60, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}
LENGTH = re.compile(r'(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)')


def length_ns(text: str) -> int:
    """Returns a length of time: 90s, 10min, 2h, 1.5d, 3w."""
    match = LENGTH.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f'{text!r} is no length of time: 90s, 10min, 2h, 3d')
    return int(float(match[1]) * UNITS[match[2]] * NANOSECONDS)


def stamp_ns(text: str) -> int:
    """Returns a stamp: 2026-11-28T10:15 (local time, unless it says another), or seconds, as a
    simulation counts them.
    """
    try:
        if re.fullmatch(r'\d+(\.\d+)?', text):
            return round(float(text) * NANOSECONDS)
        moment = datetime.fromisoformat(text.replace('Z', '+00:00'))
        return round(moment.timestamp() * NANOSECONDS)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no time: 2026-11-28T10:15, or seconds of a simulation'
        ) from None


def shown_time(time_ns: int) -> str:
    """Returns a stamp for people: local time, or the seconds of a simulation."""
    if time_ns < TIME_OF_DAY_NS:
        return f'{time_ns / NANOSECONDS:.1f} s'
    moment = datetime.fromtimestamp(time_ns / NANOSECONDS, timezone.utc).astimezone()
    return moment.strftime('%Y-%m-%d %H:%M:%S')


def point(text: str) -> tuple[float, float]:
    """Returns a point of the plane: X,Y in metres."""
    try:
        x, y = (float(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no place: X,Y in metres') from None
    return x, y


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which entries are meant."""
    parser.add_argument(
        '--last', type=length_ns, metavar='T', help='of the last 90s, 10min, 2h, 3d'
    )
    parser.add_argument(
        '--from', dest='begin', type=stamp_ns, metavar='TIME',
        help='since 2026-11-28T10:15, or since so many seconds of a simulation',
    )  # fmt: skip
    parser.add_argument('--to', dest='end', type=stamp_ns, metavar='TIME', help='until then')
    parser.add_argument(
        '--near', type=point, metavar='X,Y', help='where the robot was near a place, in metres'
    )
    parser.add_argument(
        '--radius', type=float, default=2.0, metavar='M', help='how near (default: 2 m)'
    )
    parser.add_argument('--frame', default='map', help='coordinate frame of --near (default: map)')
    parser.add_argument('--camera', default='', help='of this camera only')
    parser.add_argument('--kind', choices=[kind.name.lower() for kind in Kind], help='of this kind')


def filter_from(arguments: argparse.Namespace, newest_ns: int | None) -> Filter:
    """Returns the filter of these options; `newest_ns` is when `--last` ends."""
    return Filter(
        interval=interval_from(arguments, newest_ns),
        place=_place(arguments),
        camera=arguments.camera,
        kinds=(Kind[arguments.kind.upper()],) if arguments.kind else (),
    )


def _place(arguments: argparse.Namespace) -> Place | None:
    if arguments.near is None:
        return None
    x, y = arguments.near
    return Place(arguments.frame, x, y, arguments.radius)


def interval_from(arguments: argparse.Namespace, newest_ns: int | None) -> Interval | None:
    """Returns the interval of `--last`, or of `--from` and `--to`; SettingError for both."""
    if arguments.last is not None:
        if arguments.begin is not None or arguments.end is not None:
            raise SettingError('--last with --from or --to', 'each of them says when')
        end_ns = newest_ns or 0
        return Interval(max(0, end_ns - arguments.last), end_ns)
    if arguments.begin is None and arguments.end is None:
        return None
    begin, end = arguments.begin or 0, arguments.end
    return Interval(begin, MAX_STAMP_NS if end is None else end)
