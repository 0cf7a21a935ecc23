# SPDX-License-Identifier: Apache-2.0
"""`penguin summarise`: has a memory node tell what happened in an interval."""

from __future__ import annotations

import argparse
from typing import Any

from penguin_ros.cli import exit_codes
from penguin_ros.cli.past_times import length_ns, stamp_ns
from penguin_ros.cli.recall_live import interval_fields
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import print_line, status_line
from penguin_ros.text import counted

EPILOG = """examples:
  penguin summarise --last 1h
  penguin summarise --from 2026-11-28T10:00 --to 2026-11-28T12:00 --focus "the forklift"
  penguin summarise --last 8h --dry-run      # what it would cost, and nothing else

A penguin node writes it from the captions, in parts that are merged; Ctrl-C cancels it. Exit code
1 when there were no captions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        '--last', type=length_ns, metavar='T', help='of the last 90s, 10min, 2h, 3d (default: 1h)'
    )
    parser.add_argument(
        '--from', dest='begin', type=stamp_ns, metavar='TIME',
        help='since 2026-11-28T10:15, or since so many seconds of a simulation',
    )  # fmt: skip
    parser.add_argument('--to', dest='end', type=stamp_ns, metavar='TIME', help='until then')
    parser.add_argument('--camera', default='', help='of this camera only')
    parser.add_argument('--focus', default='', metavar='TEXT', help='what it should be about')
    parser.add_argument('--dry-run', action='store_true', help='say only what it would cost')
    parser.add_argument(
        '--max-prompts', type=int, default=0, metavar='N',
        help='refuse what takes more prompts (default: that of the node)',
    )  # fmt: skip
    parser.add_argument('--node', default='', help='full name of the memory node, when several run')
    parser.add_argument(
        '--timeout', type=seconds, default=1800.0, metavar='S', help='give up after S seconds'
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the summary, and on stderr what it cost."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.memory_client import MemoryClient, find_memory
    from penguin_ros.ros.client.session import session

    if arguments.last is None and arguments.begin is None and arguments.end is None:
        arguments.last = length_ns('1h')
    with session('penguin_summarise') as client_session:
        client = MemoryClient(client_session, find_memory(client_session, arguments.node))
        interval = interval_fields(client, arguments)
        fields = {
            'start': interval['start'],
            'end': interval['end'],
            'camera': arguments.camera,
            'focus': arguments.focus,
            'max_prompts': max(0, arguments.max_prompts),
        }
        cost = client.summarise({**fields, 'is_dry_run': True}, _ignore, arguments.timeout)
        status_line(
            f'{counted(cost.captions, "caption")}: {counted(cost.prompts, "prompt")}, '
            f'about {counted(cost.prompt_tokens, "token")}'
        )
        if arguments.dry_run or not cost.captions:
            return exit_codes.DONE if cost.captions else exit_codes.FAILED
        result = client.summarise(fields, _told, arguments.timeout)
    print_line(result.text)
    return exit_codes.DONE


def _ignore(feedback: Any) -> None:
    """Has nothing to tell."""


def _told(feedback: Any) -> None:
    status_line(f'{feedback.prompts_done} of {feedback.prompts_needed}: {feedback.text}')
