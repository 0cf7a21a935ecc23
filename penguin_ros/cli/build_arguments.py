# SPDX-License-Identifier: Apache-2.0
"""The options of `penguin build`, and their defaults, which follow the board where there is one."""

from __future__ import annotations

import argparse
from pathlib import Path

from penguin_ros.board.profile import BoardProfile, read_profile
from penguin_ros.board_facts import board_facts
from penguin_ros.board_memory.board_classes import (
    NOMINAL,
    WITH_OWN_MEMORY,
    BoardClass,
    BoardSizes,
    class_named,
    class_of,
)
from penguin_ros.cli.build_kernels import CUDA, add_kernel_arguments
from penguin_ros.cli.setting_options import seconds
from penguin_ros.export import precision as formats

TENSORRT = 'tensorrt'
LEFT_OUT = (None, '', 'auto')
"""What an option is that was left out."""

BY_BOARD = 'follows the board with TensorRT, see --board; else'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options and the name of the source."""
    parser.add_argument(
        'checkpoint',
        help='folder or hub id of a published checkpoint; or a bundle whose engines to build',
    )
    parser.add_argument(
        '--backend',
        choices=formats.BACKENDS,
        default='onnxruntime',
        help='runtime that the bundle is for (default: onnxruntime)',
    )
    parser.add_argument(
        '--device',
        choices=formats.DEVICES,
        default='cpu',
        help='where ONNX Runtime will run it (default: cpu)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='DIR',
        help='folder of the bundle (default: engines/NAME_BACKEND_PRECISION)',
    )
    parser.add_argument(
        '--threads',
        type=int,
        default=0,
        metavar='N',
        help='threads of the conversion (default: all cores)',
    )
    _add_format_arguments(parser)
    _add_size_arguments(parser)
    _add_plan_arguments(parser)
    add_kernel_arguments(parser.add_argument_group('cuda'))
    group = parser.add_argument_group('TensorRT')
    _add_engine_arguments(group)
    _add_engine_sizes(group)


def _add_format_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--precision',
        choices=formats.PRECISIONS,
        default='',
        help='number format of the weights (default: onnxruntime float32, cuda int4, tensorrt '
        'float16, on a Jetson int4)',
    )
    parser.add_argument(
        '--head',
        choices=formats.HEAD_PRECISIONS,
        default='',
        help="format of the LLM's last matrix",
    )
    parser.add_argument(
        '--vision',
        choices=formats.ENCODER_PRECISIONS,
        default='',
        help='format of the encoder and the projector',
    )
    parser.add_argument(
        '--compute',
        choices=formats.FLOATS,
        default='',
        help='format of the activations of an int8 or int4 bundle',
    )
    parser.add_argument(
        '--measure-range',
        default='',
        metavar='RECORDING',
        help='for float16: run the beginning of a recording in float32 first, with ONNX Runtime, '
        'and compute smaller by powers of two what float16 may not hold, with the same result',
    )


def _add_size_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--block-size',
        type=int,
        choices=formats.BLOCK_SIZES,
        default=formats.DEFAULT_BLOCK_SIZE,
        help='int4 or int8 weights that share a scale (default: 128; 256 is faster on a CPU, at a '
        'larger loss)',
    )
    parser.add_argument(
        '--max-length',
        type=int,
        metavar='N',
        help=f'most positions of a KV slot (default: {BY_BOARD} {WITH_OWN_MEMORY.max_length})',
    )
    parser.add_argument(
        '--head-parts',
        type=int,
        metavar='N',
        help='products that the last matrix is cut into; more take less memory while an engine is '
        f'built (default: {BY_BOARD} {WITH_OWN_MEMORY.head_parts})',
    )


def _add_engine_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--profile',
        type=Path,
        metavar='FILE',
        help='for what is left out take what `penguin bench board` chose on the board: its report',
    )
    group.add_argument(
        '--golden',
        action='store_true',
        help='add what ONNX Runtime computes with the weights; `penguin bench board` compares the '
        'engines with it; takes minutes and the memory of the weights',
    )
    group.add_argument(
        '--graphs-only',
        action='store_true',
        help='build no engines: the machine that runs them will',
    )
    group.add_argument(
        '--variant',
        choices=('auto', 'window', 'two_part'),
        default='auto',
        help='form of the decoder (default: auto)',
    )
    group.add_argument(
        '--timing-cache',
        metavar='FILE',
        help="file that keeps timings; empty: none (default: in the user's cache)",
    )
    group.add_argument(
        '--force', action='store_true', help='also build engines that are up to date'
    )


def _add_engine_sizes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--max-rows',
        type=int,
        metavar='N',
        help=f'most positions of one prefill run (default: {BY_BOARD} {WITH_OWN_MEMORY.max_rows})',
    )
    group.add_argument(
        '--max-patches',
        type=int,
        metavar='N',
        help=f'most patches of a frame (default: {BY_BOARD} {WITH_OWN_MEMORY.max_patches})',
    )
    group.add_argument(
        '--workspace',
        type=seconds,
        metavar='GB',
        help='working memory of one layer, 0 for no limit (default: 1 where the GPU shares the '
        "machine's memory, else no limit)",
    )


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='only print what running and building take of memory, and whether a board has it; '
        'needs no weights (2B and 8B name the published models)',
    )
    parser.add_argument(
        '--board',
        type=int,
        choices=NOMINAL,
        metavar='GB',
        help='the memory of the Jetson that will run it: '
        f'{", ".join(map(str, NOMINAL))} (default: this machine)',
    )


def fill_defaults(arguments: argparse.Namespace) -> BoardClass | None:
    """Puts what was measured on the board, its default, or that of this backend where an option was
    left out, and returns the board: the named one, else this machine where it is a Jetson.
    """
    arguments.forms = {}
    if arguments.profile is not None:
        _fill_from(read_profile(arguments.profile), arguments)
    board = _board(arguments)
    sizes = board.sizes if board is not None else WITH_OWN_MEMORY
    for name in ('max_length', 'head_parts', 'max_rows', 'max_patches'):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(sizes, name))
    _fill_formats(arguments, sizes)
    return board


def _fill_from(profile: BoardProfile, arguments: argparse.Namespace) -> None:
    arguments.backend = TENSORRT
    for name in ('precision', 'head', 'compute', 'variant', 'max_patches', 'decode'):
        measured = getattr(profile, name)
        if measured and getattr(arguments, name) in LEFT_OUT:
            setattr(arguments, name, measured)
    arguments.forms = dict(profile.forms)


def _fill_formats(arguments: argparse.Namespace, sizes: BoardSizes) -> None:
    if arguments.backend == CUDA:
        arguments.precision = arguments.precision or 'int4'
    elif arguments.backend != TENSORRT:
        arguments.precision = arguments.precision or 'float32'
    elif not arguments.precision:
        arguments.precision = sizes.precision
        arguments.head = arguments.head or sizes.head


def _board(arguments: argparse.Namespace) -> BoardClass | None:
    if arguments.backend not in (TENSORRT, CUDA):
        return None
    if arguments.board is not None:
        return class_named(arguments.board)
    if arguments.backend == CUDA and not arguments.dry_run:
        return None  # kernels are compiled for boards that are elsewhere
    facts = board_facts()
    return class_of(facts.memory.total) if facts.jetson is not None else None
