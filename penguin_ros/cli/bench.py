# SPDX-License-Identifier: Apache-2.0
"""`penguin bench`: measures a model on this machine. Each kind is a file `bench_<kind>.py` with
`add_arguments` and `run`.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

KINDS = {
    'board': 'what a Jetson can do: one command, one file to send back',
    'engine': 'speed, memory and agreement of a bundle or checkpoint on its backend',
    'live': 'cost of a live camera, recomputed and with reuse, and that both say the same',
    'rules': 'cost of many rules on one clip, against one rule and against one after another',
}

EPILOG = """examples:
  penguin bench engine engines/penguin_2b
  penguin bench engine engines/orin --against onnxruntime --json orin.json
  penguin bench engine engines/penguin_int4 --against engines/penguin_float32
  penguin bench live engines/penguin_2b
  penguin bench rules engines/penguin_2b
  penguin bench board engines/orin --report board.json

`penguin bench engine --help` and the like say what each takes.

exit codes: 0 everything was measured, 1 a target or a comparison failed,
2 nothing could be measured"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a parser for each kind."""
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    for name, text in KINDS.items():
        module = _module(name)
        sub = kinds.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + '.',
            epilog=getattr(module, 'EPILOG', None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)


def run(arguments: argparse.Namespace) -> int:
    """Runs the kind that was asked for."""
    return int(_module(arguments.kind).run(arguments))


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f'penguin_ros.cli.bench_{kind}')
