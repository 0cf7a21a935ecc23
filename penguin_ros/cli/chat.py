# SPDX-License-Identifier: Apache-2.0
"""`penguin chat`: a conversation with a running node, line by line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import GrowingText

if TYPE_CHECKING:
    from penguin_ros.ros.client.chat import Chat

HELP = """Each line is a question. It is about what was shown before, until you look again:
  /look           the next question is about what the camera sees now
  /last SECONDS   the next question is about that stretch of the past
  /camera NAME    look with this camera from now on
  /new            forget what was said, and ask about the present again
  /quit           end (so does Ctrl-D); the node then forgets the conversation"""

EPILOG = f"""{HELP}

examples:
  penguin chat
  penguin chat --node /robot1/penguin --camera front

exit codes: 0 done, 2 no node or wrong usage, 130 interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('--node', default='', help='full name of the node, when several run')
    parser.add_argument(
        '--camera', default='', help='camera to look at (default: that of the node)'
    )
    parser.add_argument(
        '--timeout',
        type=seconds,
        default=600.0,
        metavar='S',
        help='give up when no answer came after S seconds (default: 600)',
    )


@dataclass
class _View:
    """What the next question looks at; `is_now`: not at what was shown before."""

    camera: str
    is_now: bool = True
    last_seconds: float = 0.0


def run(arguments: argparse.Namespace) -> int:
    """Asks line by line until the input ends; the conversation is forgotten then."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.chat import Chat
    from penguin_ros.ros.client.question_client import QuestionClient
    from penguin_ros.ros.client.session import session

    with session('penguin_chat') as client_session:
        name = client_session.find_node(arguments.node)
        chat = Chat(QuestionClient(client_session, name), arguments.timeout)
        view = _View(arguments.camera)
        print(f'talking with {name}; /help lists what else there is', file=sys.stderr)
        try:
            for line in _lines():
                if not _take_line(line, chat, view):
                    break
        finally:
            chat.forget()
    return exit_codes.DONE


def _lines() -> Iterator[str]:
    """Yields the lines typed, without white space around them; a terminal can edit them."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  (gives input() its editing and its history)
    while True:
        try:
            yield input('> ' if sys.stdin.isatty() else '').strip()
        except EOFError:
            return


def _take_line(line: str, chat: Chat, view: _View) -> bool:
    """Does what a line says; returns False at the end of the conversation."""
    word, _, rest = line.partition(' ')
    if not line:
        return True
    if word == '/quit':
        return False
    if word == '/new':
        chat.forget()
        view.is_now = True
    elif word == '/look':
        view.is_now, view.last_seconds = True, 0.0
    elif word == '/camera':
        view.camera, view.is_now = rest.strip(), True
    elif word == '/last':
        _look_back(rest, view)
    elif word.startswith('/'):
        print(HELP, file=sys.stderr)
    else:
        _ask(line, chat, view)
    return True


def _look_back(text: str, view: _View) -> None:
    try:
        view.last_seconds = seconds(text.strip())
    except argparse.ArgumentTypeError as error:
        print(f'/last takes seconds: {error}', file=sys.stderr)
        return
    view.is_now = True


def _ask(line: str, chat: Chat, view: _View) -> None:
    from penguin_ros.ros.client.question_client import AskedQuestion

    before = chat.conversation
    question = AskedQuestion(line)
    if view.is_now:
        question = AskedQuestion(line, view.camera, view.last_seconds)
    stream = GrowingText()
    answer = chat.ask(question, stream.show)
    stream.finish(answer.text)
    if answer.error_code:
        print(f'error: {answer.error_message}', file=sys.stderr)
        return
    if before and chat.conversation != before:
        print('the node had forgotten the conversation: this began a new one', file=sys.stderr)
    # To look again takes the camera's name, which is the node's to choose at first.
    view.camera = view.camera or answer.camera
    view.is_now, view.last_seconds = False, 0.0
