# SPDX-License-Identifier: Apache-2.0
"""`penguin recall` without --store: asks a running memory node, and has it look again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from penguin_ros.cli import exit_codes
from penguin_ros.cli.past_times import interval_from, shown_time
from penguin_ros.console import print_line, status_line
from penguin_ros.errors import SettingError
from penguin_ros.frame import to_nanoseconds


def run_live(arguments: argparse.Namespace) -> int:
    """Prints what the node found or answered; exit code 1 when that is nothing."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.memory_client import MemoryClient, find_memory
    from penguin_ros.ros.client.session import session

    _check(arguments)
    with session('penguin_recall') as client_session:
        client = MemoryClient(client_session, find_memory(client_session, arguments.node))
        interval = interval_fields(client, arguments)
        if arguments.last_seen:
            return _last_seen(client, interval, arguments)
        entries = _found(client, interval, arguments)
        if arguments.look_again:
            return _look_again(client, entries, arguments)
    _print_all(entries, arguments.json)
    return exit_codes.DONE if entries else exit_codes.FAILED


def interval_fields(client: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields has_interval, start and end of a request; --last ends at the newest entry
    of the memory.
    """
    from penguin_ros.ros.conversions.times import time_message

    newest = client.newest(arguments.timeout) if arguments.last is not None else None
    interval = interval_from(arguments, to_nanoseconds(newest) if newest is not None else None)
    if interval is None:
        return {}
    return {
        'has_interval': True,
        'start': time_message(interval.start_ns),
        'end': time_message(interval.end_ns),
    }


def _check(arguments: argparse.Namespace) -> None:
    if arguments.sheet:
        raise SettingError(
            '--sheet without --store', 'it reads the pictures of a folder', 'Give --store DIR, too'
        )
    if arguments.last_seen and not arguments.text.strip():
        raise SettingError(
            '--last-seen without a thing', '', 'penguin recall "red box" --last-seen'
        )


def _found(client: Any, interval: dict[str, Any], arguments: argparse.Namespace) -> Sequence[Any]:
    """Returns the entries with the words; where there are none, those that mean about the same."""
    fields: dict[str, Any] = {
        **interval,
        'camera': arguments.camera,
        'is_newest_first': arguments.newest,
        'limit': arguments.limit,
        **_place_fields(arguments),
    }
    if arguments.kind:
        from penguin_msgs.msg import MemoryEntry

        fields['kinds'] = [getattr(MemoryEntry, arguments.kind.upper())]
    entries: Sequence[Any] = client.recall(
        {**fields, 'words': arguments.text}, arguments.timeout
    ).entries
    if entries or not arguments.text or arguments.words or arguments.newest:
        return entries
    from penguin_ros.ros.client.memory_client import MemoryRefused

    try:
        by_meaning: Sequence[Any] = client.recall(
            {**fields, 'meaning': arguments.text}, arguments.timeout
        ).entries
    except MemoryRefused:  # no embedder there
        return entries
    if by_meaning:
        status_line('no entry has these words; by meaning:')
    return by_meaning


def _place_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.near is None:
        return {}
    from geometry_msgs.msg import PointStamped

    place = PointStamped()
    place.header.frame_id = arguments.frame
    place.point.x, place.point.y = arguments.near
    return {'has_place': True, 'place': place, 'radius': arguments.radius}


def _last_seen(client: Any, interval: dict[str, Any], arguments: argparse.Namespace) -> int:
    fields = {**interval, 'thing': arguments.text, 'camera': arguments.camera}
    seen = client.last_seen({**fields, 'without_looking': arguments.words}, arguments.timeout)
    if arguments.json:
        from penguin_ros.ros.client.message_dict import message_dict

        print_line(json.dumps(message_dict(seen), ensure_ascii=False))
    elif seen.is_found:
        sure = (
            f'confirmed with probability {seen.probability:.2f}'
            if seen.is_confirmed
            else 'by its caption, not looked at again'
        )
        print_line(f'{entry_line(seen.entry)}  {sure}')
    for entry in () if arguments.json else seen.refuted:
        status_line(f'refuted: {entry_line(entry)}')
    if not seen.is_found:
        status_line('it was not seen')
    return exit_codes.DONE if seen.is_found else exit_codes.FAILED


def _look_again(client: Any, entries: Sequence[Any], arguments: argparse.Namespace) -> int:
    ids = [entry.id for entry in entries if entry.has_picture]
    if not ids:
        status_line('nothing with a picture was found')
        return exit_codes.FAILED
    fields = {'question': arguments.look_again, 'entries': ids}
    response = client.look_again(fields, arguments.timeout)
    if arguments.json:
        from penguin_ros.ros.client.message_dict import message_dict

        print_line(json.dumps(message_dict(response), ensure_ascii=False))
        return exit_codes.DONE
    print_line(response.answer.text)
    for entry in response.entries:
        status_line(entry_line(entry))
    return exit_codes.DONE


def _print_all(entries: Sequence[Any], as_json: bool) -> None:
    from penguin_ros.ros.client.message_dict import message_dict

    for entry in entries:
        told = json.dumps(message_dict(entry), ensure_ascii=False) if as_json else entry_line(entry)
        print_line(told)
    if not entries:
        status_line('nothing was found')


def entry_line(entry: Any) -> str:
    """Returns an entry of a response as one line."""
    at = entry.pose.pose.position
    where = f' at {at.x:.1f}, {at.y:.1f} in {entry.pose.header.frame_id}' if entry.has_pose else ''
    asked = f'{entry.question} ' if entry.question else ''
    mark = ' [picture]' if entry.has_picture else ''
    reasons = f': {", ".join(entry.matches)}' if entry.matches else ''
    return (
        f'{shown_time(to_nanoseconds(entry.end))}  {entry.camera}{where}  {asked}{entry.text}  '
        f'({entry.id}{reasons}){mark}'
    )
