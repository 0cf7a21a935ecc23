# SPDX-License-Identifier: Apache-2.0
"""`ros2 penguin VERB`: verbs of `penguin` that concern running nodes, for the stock command line.

ros2cli finds these classes by the entry points in setup.py and calls them by its own rules: an
extension is made without arguments, adds its arguments to a parser, and gets them parsed. It is
imported when an extension is made, so that this module can be imported without it.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any, ClassVar

from penguin_ros.cli.completion import add_completers
from penguin_ros.cli.main import VERBS, guarded


class _Extension:
    """What every extension of ros2cli has; a version that does not fit is refused by ros2cli."""

    NAME: ClassVar[str | None] = None
    EXTENSION_POINT_VERSION = '0.1'

    def __init__(self) -> None:
        from ros2cli.plugin_system import PLUGIN_SYSTEM_VERSION, satisfies_version

        satisfies_version(PLUGIN_SYSTEM_VERSION, '^0.1')


class PenguinCommand(_Extension):
    """Dense captions and answers from camera streams with Penguin-VL."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Adds the verbs; only the module of the one that was typed is imported."""
        from ros2cli.command import add_subparsers_on_demand

        self._parser = parser
        add_subparsers_on_demand(parser, cli_name, '_verb', 'penguin_ros.verb', required=False)

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Runs the verb, or prints the help where none was typed; returns the exit code."""
        if not hasattr(args, '_verb'):
            self._parser.print_help()
            return 0
        return int(args._verb.main(args=args))


class _Verb(_Extension):
    """A verb of `penguin` under its own name."""

    verb: ClassVar[str]

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Adds the arguments of the verb."""
        module = self._module()
        # Its examples name the command that has the same verbs without ros2cli.
        parser.epilog = getattr(module, 'EPILOG', None)
        module.add_arguments(parser)
        add_completers(parser, self.verb)

    def main(self, *, args: argparse.Namespace) -> int:
        """Runs the verb as `penguin` does; returns the exit code."""
        return guarded(lambda: int(self._module().run(args)))

    def _module(self) -> Any:
        return importlib.import_module(f'penguin_ros.cli.{self.verb}')


def _verb(name: str) -> type[_Verb]:
    # ros2cli shows the first line of the docstring as the verb's description.
    text = VERBS[name][0].upper() + VERBS[name][1:]
    return type(name.capitalize(), (_Verb,), {'verb': name, '__doc__': text})


Ask = _verb('ask')
Chat = _verb('chat')
Console = _verb('console')
Doctor = _verb('doctor')
Memory = _verb('memory')
Recall = _verb('recall')
Rules = _verb('rules')
Summarise = _verb('summarise')
Watch = _verb('watch')
