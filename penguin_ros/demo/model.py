# SPDX-License-Identifier: Apache-2.0
"""Which model a demo runs, as a bundle for ONNX Runtime. Says what was chosen, and what that means."""

from __future__ import annotations

import argparse
from pathlib import Path

from penguin_ros.config import ModelConfig
from penguin_ros.console import status_line
from penguin_ros.export.bundle_cache import with_bundle

SMALL_BYTES = 2**30


def bundle_of(arguments: argparse.Namespace, default: Path | None, folder: Path) -> str:
    """The folder that is given, or that of a checkpoint, `default` where none is given, built when
    need be.
    """
    if arguments.bundle:
        return str(Path(arguments.bundle).resolve())
    checkpoint, place = arguments.checkpoint or (str(default) if default else ''), None
    if not arguments.checkpoint and default:
        status_line(
            f'no --bundle, no --checkpoint: the small model {default.name}, which knows its simulated world and nothing '
            'else'
        )
    elif not checkpoint:
        from penguin_ros.testing.random_checkpoint import write_random_checkpoint

        why = '' if arguments.video else 'engines/penguin_sim has no weights here; '
        status_line(
            f'no --bundle, no --checkpoint: {why}a tiny network with random weights; its words mean nothing, everything '
            'else is real'
        )
        checkpoint, place = str(write_random_checkpoint(folder / 'random-tiny')), folder
    precision = arguments.precision or _usual_precision(Path(checkpoint))
    return with_bundle(
        ModelConfig(checkpoint=checkpoint, backend='onnxruntime', precision=precision), place
    ).bundle


def _usual_precision(checkpoint: Path) -> str:
    """A large network decodes several times as fast in int4; a hub id names a large one."""
    sizes = [path.stat().st_size for path in checkpoint.glob('*.safetensors')]
    return 'float32' if sizes and sum(sizes) < SMALL_BYTES else 'int4'
