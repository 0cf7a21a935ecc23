# SPDX-License-Identifier: Apache-2.0
"""`penguin recall`: finds what a robot saw, in a store on the disk or of a running memory node."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.cli import exit_codes
from penguin_ros.cli.past_times import add_choices, filter_from, shown_time
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import print_line, status_line
from penguin_ros.errors import LibraryUnusable, SettingError

if TYPE_CHECKING:
    from penguin_ros.memory.entry import Hit
    from penguin_ros.memory.store import Store

EPILOG = """examples:
  penguin recall "red box" --last 2h
  penguin recall "red box" --last-seen
  penguin recall box --last 10min --look-again "Is it damaged?"
  penguin recall "red box" --near 1.5,2.0 --radius 1 --newest --store ~/memory
  penguin recall --from 2026-11-28T10:00 --to 2026-11-28T10:15 --store ~/memory --sheet found.png

Without --store a running memory node is asked. Entries are found by their words, or by what they
mean where the extra `meaning` is installed; "words in quotes" next to each other, none with a -
before it. Exit code 1 when nothing was found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('text', nargs='?', default='', help='what to look for; nothing: anything')
    parser.add_argument(
        '--store',
        type=Path,
        metavar='DIR',
        help='a folder that a memory node or index wrote; needs no ROS (default: a running node)',
    )
    add_choices(parser)
    parser.add_argument('--words', action='store_true', help='by words only, not by meaning')
    parser.add_argument('--newest', action='store_true', help='the newest first, not the best')
    parser.add_argument('--limit', type=int, default=20, metavar='N', help='at most so many (20)')
    parser.add_argument('--json', action='store_true', help='one JSON object each, with evidence')
    parser.add_argument(
        '--look-again', default='', metavar='QUESTION', help='ask about the pictures that are found'
    )
    parser.add_argument(
        '--last-seen', action='store_true', help='where it was last, confirmed by its picture'
    )
    parser.add_argument('--node', default='', help='full name of the memory node, when several run')
    parser.add_argument(
        '--timeout', type=seconds, default=120.0, metavar='S', help='give up after S seconds (120)'
    )
    parser.add_argument(
        '--sheet', type=Path, metavar='FILE', help='draw pictures with times and places as PNG'
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was found; exit code 1 when that is nothing."""
    from penguin_ros.memory.store import Store

    if arguments.store is None:
        from penguin_ros.cli.recall_live import run_live

        return run_live(arguments)
    if arguments.look_again or arguments.last_seen:
        raise SettingError(
            '--look-again or --last-seen with --store',
            'a running penguin node looks at the pictures, which a memory node gives it',
            'Leave --store out',
        )
    with Store.open(arguments.store, is_read_only=True) as store:
        hits = _found(store, arguments)
        for hit in hits:
            _print(hit, arguments.json)
        if arguments.sheet and hits:
            _draw(store, hits, arguments)
    if not hits:
        status_line('nothing was found')
    return exit_codes.DONE if hits else exit_codes.FAILED


def _found(store: Store, arguments: argparse.Namespace) -> Sequence[Hit]:
    asked = filter_from(arguments, store.newest_ns())
    text = arguments.text
    has_meaning = bool(text) and not arguments.words and not arguments.newest
    if has_meaning and not _uses_meaning(store):
        has_meaning = False
    asked = dataclasses.replace(
        asked,
        words=text,
        meaning=text.replace('"', '') if has_meaning else '',
        is_either=has_meaning and '"' not in text and '-' not in text,
        is_newest_first=arguments.newest,
        limit=arguments.limit,
    )
    return store.recall(asked).hits


def _uses_meaning(store: Store) -> bool:
    """Lets the store find by meaning, where that is possible."""
    from penguin_ros.memory.embedder import included_embedder

    if not store.has_vectors():
        return False
    try:
        store.use_embedder(included_embedder())
    except LibraryUnusable as error:
        status_line(f'by words only: {error.why}')
        return False
    return True


def _print(hit: Hit, as_json: bool) -> None:
    from penguin_ros.memory.export import record

    entry, pose = hit.entry, hit.entry.pose
    if as_json:
        found = {'score': hit.score, 'matches': hit.matches}
        print_line(json.dumps({**record(entry), **found}, ensure_ascii=False))
        return
    where = f' at {pose.x:.1f}, {pose.y:.1f} in {pose.frame}' if pose else ''
    asked = f'{entry.question} ' if entry.question else ''
    mark = ' [picture]' if entry.has_picture else ''
    print_line(
        f'{shown_time(entry.end_ns)}  {entry.camera}{where}  {asked}{entry.text}  '
        f'({entry.id}: {", ".join(hit.matches) or entry.kind.name.lower()}){mark}'
    )


def _draw(store: Store, hits: Sequence[Hit], arguments: argparse.Namespace) -> None:
    from penguin_ros.demo.recall_sheet import draw_sheet

    shown = draw_sheet(store, hits, arguments.text, shown_time, arguments.sheet)
    status_line(f'{arguments.sheet}: {shown} pictures')
