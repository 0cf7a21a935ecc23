# SPDX-License-Identifier: Apache-2.0
"""The part of `penguin build` that is TensorRT's: its options, and engines for a bundle. Knows the builder's front door only."""
from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.bundle import read_manifest
from penguin_ros.backends.tensorrt_cache import STEP
from penguin_ros.backends.tensorrt_record import FOLDER
from penguin_ros.backends.tensorrt_version import require_tensorrt
from penguin_ros.cli import exits
from penguin_ros.cli.terminal import print_line, progress_bar
from penguin_ros.errors import BackendUnavailable, BuildRefused

if TYPE_CHECKING:
    from penguin_ros.export.tensorrt_build import EngineOptions

BACKEND = 'tensorrt'
PARTS = 2
"""Engines of a bundle: decoder and encoder."""

PLAN = '.plan'


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of engines."""
    group = parser.add_argument_group('TensorRT')
    group.add_argument('--graphs-only', action='store_true', help='build no engines: the machine that runs them will')
    group.add_argument('--max-rows', type=int, default=512, metavar='N', help='positions of one prefill run at most (512)')
    group.add_argument('--max-patches', type=int, default=4096, metavar='N', help='patches of a frame at most (4096)')
    group.add_argument('--variant', choices=('auto', 'window', 'two_part'), default='auto', help='form of the decoder (auto)')
    group.add_argument('--workspace', type=float, default=0.0, metavar='GB', help='working memory of one layer (no limit)')
    group.add_argument('--timing-cache', metavar='FILE', help='where timings are kept; empty: nowhere (the user\'s cache)')
    group.add_argument('--force', action='store_true', help='build engines that fit already, too')


def check_engines(arguments: argparse.Namespace) -> None:
    """Before weights are converted for minutes: whether engines can follow. BackendUnavailable, BuildRefused."""
    if arguments.backend != BACKEND or arguments.graphs_only:
        return
    if arguments.max_length % STEP:
        raise BuildRefused(f'--max-length {arguments.max_length}', f'TensorRT needs a multiple of {STEP}',
                           f'Take --max-length {-(-arguments.max_length // STEP) * STEP}')
    try:
        require_tensorrt()
    except BackendUnavailable as error:
        raise BackendUnavailable(error.what, error.why, f'{error.fix}. Or add --graphs-only here, and on the machine that will '
                                 f'run them type: penguin build FOLDER --backend {BACKEND}') from error


def build_engines_of(folder: Path, arguments: argparse.Namespace) -> int:
    """Builds the engines of a bundle that lack or are stale."""
    found = read_manifest(folder).backend
    if found != BACKEND or arguments.backend != BACKEND:
        raise BuildRefused(f'{folder} is a bundle for {found} already', 'of a bundle only engines of TensorRT can be built',
                           'Name a checkpoint' if found != BACKEND else f'Add --backend {BACKEND}')
    _build(folder, arguments)
    print_line(f'{folder}: engines are built')
    return exits.DONE


def add_engines(folder: Path, draft: Path, arguments: argparse.Namespace) -> None:
    """Engines for the bundle in `draft`, which will stand in `folder`; those there that still fit are kept."""
    if arguments.backend != BACKEND or arguments.graphs_only:
        return
    if (folder / FOLDER).is_dir():
        shutil.copytree(folder / FOLDER, draft / FOLDER, copy_function=_linked)
    _build(draft, arguments)


def _linked(source: str, target: str) -> None:
    """Plans are gigabytes and never written to again: a second name will do."""
    if source.endswith(PLAN):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


def _build(folder: Path, arguments: argparse.Namespace) -> None:
    from penguin_ros.export.tensorrt_build import build_engines
    finished: list[str] = []
    with progress_bar('engines', PARTS) as bar:
        def show(stage: str, fraction: float) -> None:
            part = stage.partition(':')[0]
            if part not in finished:
                finished.append(part)
            bar(min(len(finished), PARTS) - 1 + fraction, stage)

        build_engines(folder, _options(arguments), show)


def _options(arguments: argparse.Namespace) -> EngineOptions:
    from penguin_ros.export.tensorrt_build import EngineOptions
    return EngineOptions(arguments.max_rows, arguments.max_patches, arguments.variant, int(arguments.workspace * 1e9),
                         arguments.timing_cache, arguments.force)
