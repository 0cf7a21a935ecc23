# SPDX-License-Identifier: Apache-2.0
"""The part of `penguin build` that is for the backend cuda: for which GPUs kernels are compiled,
and compiling those of a bundle that is there.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.cli import exit_codes
from penguin_ros.console import print_line, status_line
from penguin_ros.errors import BuildRefused
from penguin_ros.kernels.library import triton_folder
from penguin_ros.kernels.table import TARGETS

if TYPE_CHECKING:
    from penguin_ros.export.cuda.kernel_files import KernelOrder

CUDA = 'cuda'
KEPT = {'int8': 'int8', '16': ''}
"""How the option names the formats of keys and values."""


def add_kernel_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options."""
    known = ', '.join(f'sm_{target}' for target in TARGETS)
    group.add_argument(
        '--target',
        type=target_of,
        action='append',
        default=[],
        metavar='GPU',
        help=f'a GPU that gets machine code, may be repeated: {known} (sm_87: Orin, sm_110: Thor; '
        'default: sm_80, whose PTX the driver of any later GPU compiles when it is first run)',
    )
    group.add_argument(
        '--kv',
        choices=tuple(KEPT),
        help='format of keys and values: int8 takes half the memory and half the reading, at a '
        'loss that docs/kernels.md states (default: 16 bits)',
    )


def target_of(text: str) -> int:
    """Reads the name of a GPU's architecture; ArgumentTypeError for one without kernels."""
    found = re.fullmatch(r'(?:sm_)?(\d+)', text)
    target = int(found[1]) if found else 0
    if target not in TARGETS:
        known = ', '.join(f'sm_{each}' for each in TARGETS)
        raise argparse.ArgumentTypeError(f'{text!r} is none of {known}')
    return target


def kernel_order(arguments: argparse.Namespace) -> KernelOrder:
    """Returns which kernels are compiled."""
    from penguin_ros.export.cuda.kernel_files import KernelOrder

    order = KernelOrder(cache=KEPT[arguments.kv or '16'])
    return (
        replace(order, targets=tuple(dict.fromkeys(arguments.target)))
        if arguments.target
        else order
    )


def check_kernels(arguments: argparse.Namespace) -> None:
    """Raises BuildRefused when the kernels could not be compiled, before weights are converted for
    minutes; and for options that mean nothing.
    """
    if arguments.backend != CUDA:
        for option in ('target', 'kv'):
            if getattr(arguments, option):
                raise BuildRefused(
                    f'--{option} with --backend {arguments.backend}',
                    'it is about kernels of this project',
                    f'Add --backend {CUDA}',
                )
        return
    if arguments.measure_range:
        raise BuildRefused(
            f'--measure-range with --backend {CUDA}',
            'what float16 may not hold is float32 in these kernels',
            'Leave --measure-range out',
        )
    if triton_folder() is None:
        from penguin_ros.kernels.library import environment

        environment(is_interpreted=False)  # says what to type


def build_kernels_of(folder: Path, arguments: argparse.Namespace) -> int:
    """Compiles the kernels of a bundle again, for the GPUs that it had and for those named."""
    from penguin_ros.export.cuda.kernel_files import renew_kernels

    check_kernels(arguments)
    cache = None if arguments.kv is None else KEPT[arguments.kv]
    targets = tuple(arguments.target)
    made = renew_kernels(folder, targets, progress=status_line, cache=cache)
    names = ', '.join(f'sm_{target}' for target in made.targets)
    print_line(f'{folder}: {len(made.entries)} kernels for {names}')
    return exit_codes.DONE
