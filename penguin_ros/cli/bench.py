# SPDX-License-Identifier: Apache-2.0
"""`penguin bench`: measures on the machine it runs on. Each kind is a file bench_<kind>.py with
add_arguments and run.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

KINDS = {
    'engine': 'speed, memory and agreement of a bundle or checkpoint on its backend',
    'live': 'what a live camera costs, everything computed anew against reuse, and that both say the same',
}

EPILOG = """examples:
  penguin bench engine engines/penguin_2b
  penguin bench engine engines/orin --against onnxruntime --json orin.json
  penguin bench engine engines/penguin_int4 --against engines/penguin_float32
  penguin bench live engines/penguin_2b

`penguin bench engine --help` says what each takes.

exit codes: 0 all was measured, 1 a side or a comparison failed, 2 nothing could be measured"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A parser per kind."""
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
    """Exit code of the kind that was asked for."""
    return int(_module(arguments.kind).run(arguments))


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f'penguin_ros.cli.bench_{kind}')
