# SPDX-License-Identifier: Apache-2.0
"""`penguin memory`: what a store holds, whether it is whole, an export of it, and forgetting."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from penguin_ros.cli import exit_codes
from penguin_ros.cli.past_times import add_choices, filter_from, shown_time
from penguin_ros.console import print_line, status_line
from penguin_ros.errors import SettingError
from penguin_ros.text import counted

EPILOG = """examples:
  penguin memory stats --store ~/memory
  penguin memory export --store ~/memory --to-folder drive --last 2h
  penguin memory forget --store ~/memory --from 2026-11-28T10:00 --to 2026-11-28T10:15
  penguin memory check --store ~/memory

forget really removes: rows, index, vectors and pictures; nothing of it can be read from the folder
any more. Stop the memory node before: one process at a time may write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('action', choices=('stats', 'export', 'forget', 'check'))
    parser.add_argument('--store', type=Path, required=True, metavar='DIR', help='its folder')
    add_choices(parser)
    parser.add_argument('--to-folder', type=Path, metavar='DIR', help='export: where to, a new one')
    parser.add_argument('--all', action='store_true', help='forget: everything')
    parser.add_argument('--yes', action='store_true', help='forget: without asking')
    parser.add_argument(
        '--mend', action='store_true', help='check: put a damaged database aside and start empty'
    )


def run(arguments: argparse.Namespace) -> int:
    """Does what is asked; exit code 1 when a check found a fault, or traces are left."""
    actions = {'stats': _stats, 'export': _export, 'forget': _forget, 'check': _check}
    return actions[arguments.action](arguments)


def _stats(arguments: argparse.Namespace) -> int:
    from penguin_ros.memory.store import Store

    with Store.open(arguments.store, is_read_only=True) as store:
        stats, vectors = store.stats(), store.vector_count()
        oldest, newest = store.span()
    for kind, count in stats.entries.items():
        print_line(f'{kind + "s":<10} {count:>10}   {_size(stats.bytes[kind])}')
    print_line(f'{"pictures":<10} {stats.pictures:>10}   {_size(stats.picture_bytes)}')
    print_line(f'{"vectors":<10} {vectors:>10}')
    print_line(f'{"sessions":<10} {stats.sessions:>10}')
    print_line(f'{"database":<10} {"":>10}   {_size(stats.database_bytes)}')
    if newest is not None and oldest is not None:
        print_line(f'from {shown_time(oldest)} to {shown_time(newest)}')
    return exit_codes.DONE


def _export(arguments: argparse.Namespace) -> int:
    from penguin_ros.memory.export import export
    from penguin_ros.memory.store import Store

    if arguments.to_folder is None:
        raise SettingError('export without --to-folder', 'it needs a place', 'Give --to-folder DIR')
    with Store.open(arguments.store, is_read_only=True) as store:
        done = export(store, filter_from(arguments, store.newest_ns()), arguments.to_folder)
    for number in done.without_picture:
        status_line(f'the picture of entry {number} is missing or damaged')
    entries = 'entry' if done.entries == 1 else 'entries'
    print_line(f'{done.entries} {entries}, {counted(done.pictures, "picture")}')
    return exit_codes.FAILED if done.without_picture else exit_codes.DONE


def _forget(arguments: argparse.Namespace) -> int:
    from penguin_ros.memory.filter import Filter
    from penguin_ros.memory.store import Store

    with Store.open(arguments.store) as store:
        asked = filter_from(arguments, store.newest_ns())
        if asked == Filter() and not arguments.all:
            raise SettingError(
                'forget without saying what',
                'nothing was forgotten',
                'Give --from and --to, or --all',
            )
        if not arguments.yes and not _agreed(arguments):
            status_line('nothing was forgotten')
            return exit_codes.FAILED
        done = store.forget(asked)
    print_line(
        f'forgotten: {done.entries} {"entry" if done.entries == 1 else "entries"}, '
        f'{counted(done.pictures, "picture")}'
    )
    for remark in done.remarks:
        status_line(remark)
    return exit_codes.FAILED if done.remarks else exit_codes.DONE


def _agreed(arguments: argparse.Namespace) -> bool:
    """Asks, where somebody can answer."""
    if not sys.stdin.isatty():
        raise SettingError('forget without --yes', 'nobody is there to ask', 'Add --yes')
    return input(f'Forget for good, in {arguments.store}? [y/N] ').strip().lower() in ('y', 'yes')


def _check(arguments: argparse.Namespace) -> int:
    from penguin_ros.memory.checking import check, mend

    if arguments.mend:
        print_line(mend(arguments.store) or 'the database is sound; nothing was put aside')
    verdicts = check(arguments.store)
    for verdict in verdicts:
        mark = 'ok' if verdict.is_whole else 'FAULT'
        print_line(f'{mark:<5} {verdict.what:<15} {verdict.remark}'.rstrip())
    is_whole = all(verdict.is_whole for verdict in verdicts)
    return exit_codes.DONE if is_whole else exit_codes.FAILED


def _size(count: int) -> str:
    return f'{count / 1e6:.1f} MB'
