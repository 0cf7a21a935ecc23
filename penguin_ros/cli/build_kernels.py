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

from penguin_ros.backends.base.bundle import read_manifest, write_manifest
from penguin_ros.backends.base.manifest import NETWORK
from penguin_ros.backends.tensorrt.decode_choice import BOTH, BY_ENGINES, BY_KERNELS
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

    group.add_argument(
        '--decode',
        choices=(BY_ENGINES, BY_KERNELS, BOTH),
        help='with --backend tensorrt: what writes text and verifies drafts; kernels: the engines '
        'need no form for one row; both: penguin bench board measures which is faster (default: '
        'engines)',
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


def decode_of(arguments: argparse.Namespace) -> str:
    """Returns what a manifest for TensorRT says of decoding."""
    return '' if arguments.decode in (None, BY_ENGINES) else str(arguments.decode)


def choose_decode(folder: Path, arguments: argparse.Namespace) -> None:
    """Notes in a bundle that is there what its engines are built for, where that is said;
    BuildRefused where it has no kernels.
    """
    manifest = read_manifest(folder)
    if arguments.decode is None or manifest.decode == decode_of(arguments):
        return
    if decode_of(arguments) and NETWORK not in manifest.files:
        raise BuildRefused(
            f'--decode {arguments.decode} for {folder}',
            'it has no kernels, which are made of the checkpoint',
            f'Build the checkpoint again with --backend tensorrt --decode {BOTH}',
        )
    write_manifest(folder, replace(manifest, decode=decode_of(arguments)))


def check_kernels(arguments: argparse.Namespace) -> None:
    """Raises BuildRefused when the kernels could not be compiled, before weights are converted for
    minutes; and for options that mean nothing.
    """
    if arguments.decode and arguments.backend != 'tensorrt':
        raise BuildRefused(
            f'--decode with --backend {arguments.backend}',
            'it says whether engines of TensorRT write text',
            'Leave it out, or add --backend tensorrt',
        )
    if arguments.backend != CUDA and not (decode_of(arguments) and not arguments.kv):
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
            f'--measure-range with kernels of this project (--backend {CUDA} or --decode)',
            'what float16 may not hold is float32 in these kernels',
            'Leave --measure-range out; engines beside kernels may take --compute bfloat16',
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
