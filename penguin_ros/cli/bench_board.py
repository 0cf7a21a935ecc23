# SPDX-License-Identifier: Apache-2.0
"""`penguin bench board`: finds out what a board with an NVIDIA GPU can do, and what to build for
it; one file to send back.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.board.report import record
from penguin_ros.board.result import DONE, FAULT, Results
from penguin_ros.board.runner import PROGRAM, BoardRequest, run_steps
from penguin_ros.board.sizes import BoardSizes
from penguin_ros.board.steps import STEPS
from penguin_ros.board.verdicts import require_gpu
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import require_least
from penguin_ros.console import print_line, status_line, write_json
from penguin_ros.errors import BuildRefused, BundleMismatch, SettingError

FIRST = ('identity',)
TENSORRT, KERNELS = 'tensorrt', 'cuda'
EPILOG = """examples:
  penguin bench board                                      # without a model: steps 1 to 4
  penguin build MODEL --profile board.json --golden --out engines/orin --graphs-only
  penguin bench board engines/orin                         # builds its engines and tries them
  penguin bench board engines/orin --soak 10
  penguin bench board engines/orin --against engines/kernels    # and a bundle for --backend cuda

Each step runs in a process of its own with a time limit; the file is complete after each of them,
and a step that crashes is a result. It holds no pictures, no names of hosts or users and no paths.
penguin build --profile takes the choice from it.

exit codes: 0 no fault was found, 1 a fault was found or a step failed,
2 nothing could be measured"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the kind."""
    parser.add_argument(
        'bundle',
        nargs='?',
        default='',
        metavar='BUNDLE',
        help='folder of a bundle for TensorRT, whose engines are built and tried',
    )
    parser.add_argument(
        '--against',
        default='',
        metavar='BUNDLE',
        help='a bundle of the same model for the backend cuda: both answer in turn, and which is '
        'sooner is chosen',
    )
    parser.add_argument(
        '--report',
        type=Path,
        default=Path('board.json'),
        metavar='FILE',
        help='where to write the report (default: board.json)',
    )
    parser.add_argument(
        '--steps',
        type=lambda text: tuple(text.split(',')),
        default=(),
        metavar='NAME,...',
        help='only these: ' + ', '.join(step.name for step in STEPS),
    )
    parser.add_argument(
        '--soak',
        type=float,
        default=0.0,
        metavar='MINUTES',
        help='at the end, let the model run for so long (default: not at all)',
    )


def run(
    arguments: argparse.Namespace,
    program: Sequence[str] = PROGRAM,
    sizes: BoardSizes | None = None,
) -> int:
    """Runs the steps, writes the report after each, and prints its text."""
    _check(arguments)
    sizes = replace(sizes or BoardSizes(), soak_s=60 * arguments.soak)
    report, folder = arguments.report, arguments.report.absolute().parent
    request = BoardRequest(arguments.bundle, folder, sizes, FIRST, program)
    first = run_steps(request, show=lambda step: status_line(step.title))
    require_gpu(first)

    def save(results: Results) -> None:
        write_json(report, record(results, arguments.bundle, arguments.against))

    length = _shared_length(arguments)
    results = run_steps(
        replace(request, steps=arguments.steps, against=arguments.against, max_length=length),
        save,
        lambda step: status_line(step.title),
        first,
    )
    written = record(results, arguments.bundle, arguments.against)
    write_json(report, written)
    for line in written['text']:
        print_line(line)
    print_line(f'{report}: send this file back; penguin build --profile {report} takes it too')
    return exit_code(results, written['verdicts'])


def exit_code(results: Results, verdicts: Sequence[dict[str, str]]) -> int:
    """UNUSABLE when nothing but the machine's name was found out, FAILED with a fault."""
    is_measured = any(result.state == DONE for name, result in results.items() if name not in FIRST)
    if not is_measured and len(results) > len(FIRST):
        return exit_codes.UNUSABLE
    has_fault = any(verdict['state'] == FAULT for verdict in verdicts)
    return exit_codes.FAILED if has_fault else exit_codes.DONE


def _check(arguments: argparse.Namespace) -> None:
    require_least(arguments, {'soak': 0})
    check_output(arguments.report)
    known = [step.name for step in STEPS]
    for name in arguments.steps:
        if name not in known:
            raise SettingError(f'--steps {name}', f'there are {", ".join(known)}')
    if arguments.bundle and read_manifest(Path(arguments.bundle)).backend != TENSORRT:
        raise BuildRefused(
            f'{arguments.bundle} is no bundle for TensorRT',
            'there are no engines to build of it',
            'Build one: penguin build CHECKPOINT --backend tensorrt --graphs-only',
        )
    if arguments.against:
        _check_other(arguments)


def _check_other(arguments: argparse.Namespace) -> None:
    if not arguments.bundle:
        raise SettingError(
            f'--against {arguments.against}',
            'there is nothing that it is compared with',
            'Name a bundle for TensorRT before it',
        )
    one, other = (read_manifest(Path(each)) for each in (arguments.bundle, arguments.against))
    if other.backend != KERNELS:
        raise BuildRefused(
            f'{arguments.against} is no bundle for the backend {KERNELS}',
            f'it was built for {other.backend}',
            f'Build one: penguin build CHECKPOINT --backend {KERNELS} --target sm_87',
        )
    if other.model_digest != one.model_digest:
        raise BundleMismatch(
            f'{arguments.against} is of another model than {arguments.bundle}',
            f'{other.model_name} and {one.model_name} have other weights',
            'Build both of one checkpoint',
        )


def _shared_length(arguments: argparse.Namespace) -> int:
    """Returns the positions that slots of both bundles have; 0 where there are not two."""
    if not arguments.against:
        return 0
    folders = (arguments.bundle, arguments.against)
    return min(read_manifest(Path(folder)).max_length for folder in folders)
