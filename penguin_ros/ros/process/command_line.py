# SPDX-License-Identifier: Apache-2.0
"""The command line of a node: everything on it is for ROS and stands behind `--ros-args`.

rcl ignores other words, so that a parameter without the flag before it, or `--help`, would start a
node with its defaults. The entry points call `checked_command_line` before rclpy is imported.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from penguin_ros.errors import PenguinError

ROS_ARGUMENTS = '--ros-args'
END = '--'
HELP = ('-h', '--help')
# What rcl takes behind --ros-args, so that it can be told from a word of nobody's.
_SOURCE_LINE = re.compile(r',? at [^\s,]+\.c:\d+')
_UNPARSED = re.compile(r"Couldn't parse [^:]+: '(?P<words>.+?)'\. Error: (?P<why>.+)", re.S)
_WHY = {
    'parameter override rule': 'a parameter is given as -p NAME:=VALUE',
    'params file': 'the file is not there, or is no YAML file of parameters',
    'remap rule': 'a name is remapped as -r FROM:=TO',
    'log level': 'levels are debug, info, warn, error and fatal, or LOGGER:=LEVEL',
}
"""What rcl could not parse, in words; its own ones speak of lexemes."""
_FLAGS = ('-p', '--param', '-r', '--remap', '--params-file', '--log-level', '-e', '--enclave')


@dataclass(frozen=True)
class NodeCommand:
    """A node's command: what it is in a sentence, and arguments that show how to give parameters.

    `page` is the page of docs/ that lists them.
    """

    program: str
    summary: str
    example: str
    page: str

    def help(self) -> str:
        """Returns what `--help` prints."""
        return (
            f'usage: {self.program} [--ros-args [-p NAME:=VALUE] [--params-file FILE.yaml] '
            '[-r FROM:=TO]\n'
            f'{" " * (len(self.program) + 8)}[--log-level LEVEL] ...]\n\n'
            f'{self.summary}\n\n'
            'examples:\n'
            f'  {self.program} --ros-args {self.example}\n'
            f'  ros2 run penguin_ros {self.program} --ros-args --params-file my.yaml\n'
            f'  ros2 run penguin_ros {self.program} --ros-args -r __ns:=/robot -r __node:=eye\n\n'
            f'All parameters: docs/{self.page} of penguin_ros; of a node that runs: '
            '`ros2 param list NODE`, `ros2 param describe NODE NAME`.'
        )


def checked_command_line(command: NodeCommand, arguments: Sequence[str]) -> list[str]:
    """Returns the command line, whose first word is the program.

    Prints the help and exits with 0 when it is asked for. PenguinError when a word is not for ROS.
    """
    stray = _not_for_ros(arguments[1:])
    if any(word in HELP for word in arguments[1:]):
        print(command.help())
        raise SystemExit(0)
    if stray:
        words = shlex.join(stray)
        raise PenguinError(
            f'{words!r} cannot be used',
            f'what a node is given stands behind {ROS_ARGUMENTS}, and nothing else',
            f'Type: {command.program} {ROS_ARGUMENTS} {_advice(stray, command)}',
        )
    return list(arguments)


def ros_argument_error(error: Exception, command: NodeCommand) -> PenguinError:
    """Returns what rclpy raised about the command line in words, without lines of rcl's source."""
    text = _SOURCE_LINE.sub('', str(error)).strip()
    found = _UNPARSED.search(text)
    whys = [why for what, why in _WHY.items() if f"parse {what}: '" in text]
    if found is None:
        return PenguinError(
            'the command line cannot be used', text, f'Type: {command.program} --help'
        )
    return PenguinError(
        f'{found["words"]!r} cannot be used',
        whys[0] if whys else found['why'],
        f'Type, say: {command.program} {ROS_ARGUMENTS} {command.example}',
    )


def _not_for_ros(words: Sequence[str]) -> list[str]:
    """Returns the words outside `--ros-args ... --`, of which a line may have several."""
    stray = []
    is_for_ros = False
    for word in words:
        if word == ROS_ARGUMENTS:
            is_for_ros = True
        elif is_for_ros and word == END:
            is_for_ros = False
        elif not is_for_ros:
            stray.append(word)
    return stray


def _advice(stray: Sequence[str], command: NodeCommand) -> str:
    """Returns the stray words as they are when they only lack the flag, else an example."""
    if stray[0] in _FLAGS or stray[0].startswith('--log-level'):
        return shlex.join(stray)
    if all(':=' in word for word in stray):  # as for a launch file
        return ' '.join(f'-p {shlex.quote(word)}' for word in stray)
    return command.example
