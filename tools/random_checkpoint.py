# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint with random weights in the layout of the published ones; see --help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # works in a checkout that is not installed

from penguin_ros.errors import CheckpointError
from penguin_ros.testing.random_checkpoint import (
    DTYPES,
    ENCODER_CONFIGS,
    LAYOUTS,
    SHAPES,
    Variant,
    write_random_checkpoint,
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='Example: tools/random_checkpoint.py --shape tiny my_checkpoint'
    )
    parser.add_argument('folder', type=Path, help='where to write; must not exist or be empty')
    parser.add_argument(
        '--shape',
        choices=sorted(SHAPES),
        default='tiny',
        help='sizes of the network; 2b and 8b are those of the published models',
    )
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other weights')
    parser.add_argument(
        '--layout', choices=LAYOUTS, default='nested', help="how the encoder's tensors are called"
    )
    parser.add_argument(
        '--dtype', choices=sorted(DTYPES), default='float32', help='number format of the weights'
    )
    parser.add_argument(
        '--encoder-config',
        choices=ENCODER_CONFIGS,
        default='folder',
        help="where the encoder's configuration lies",
    )
    parser.add_argument('--shards', type=int, default=1, help='number of weight files')
    parser.add_argument(
        '--untied', action='store_true', help='write a head of its own, as 8b always has'
    )
    return parser.parse_args()


def main() -> int:
    """Returns exit status 0, or 1 when the checkpoint could not be written."""
    options = _arguments()
    try:
        write_random_checkpoint(
            options.folder,
            options.shape,
            options.seed,
            options.layout,
            options.dtype,
            Variant(options.encoder_config, options.shards, False if options.untied else None),
        )
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'wrote {options.folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
