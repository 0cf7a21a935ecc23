# SPDX-License-Identifier: Apache-2.0
"""What keys and values in int8 cost in numbers: the same checkpoint in own kernels with a cache of
16 bits and of int8, on a GPU that does not exist, which computes the kernels in numpy. Both get the
same tokens, the text that the first writes about a stored picture, and logits are compared at every
step.

    python benchmarks/kv_cache_loss.py engines/penguin_sim [CHECKPOINT ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import numpy as np
from support.fake_gpu.cuda_bundles import computing_machine, stand_ins
from support.fake_gpu.installed import use

from penguin_ros.benchmark.engine.answer_arrays import read_answer
from penguin_ros.benchmark.engine.rounds import run_here
from penguin_ros.benchmark.engine.tasks import EngineTask
from penguin_ros.benchmark.tasks import Target
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.cuda.kernel_files import KernelOrder
from penguin_ros.export.precision import BuildChoice

LENGTH = 1024


def built(checkpoint: Path, folder: Path, cache: str) -> Path:
    """Builds a bundle in float16 whose keys and values have this format."""
    order = BuildOrder(
        BuildChoice('cuda', 'float16'), LENGTH, kernels=KernelOrder((87,), stand_ins, cache)
    )
    return build_bundle(open_checkpoint(checkpoint), folder, order)


def logits_of(bundle: Path, folder: Path, teacher: str, tokens: int) -> Path:
    """Answers the stored picture; returns the file of logits."""
    arrays = folder / f'{bundle.name}.npz'
    task = EngineTask(
        Target(str(bundle)), max_tokens=tokens, is_short=True, arrays=str(arrays), teacher=teacher
    )
    found = run_here(task)
    if found.error is not None:
        raise SystemExit(f'{bundle}: {found.error}')
    return arrays


def words_of(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Compares rows of logits (steps, vocabulary)."""
    wide = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    shares = [np.exp(each - each.max(1, keepdims=True)) for each in (ours, theirs)]
    ours_p, theirs_p = (each / each.sum(1, keepdims=True) for each in shares)
    divergence = (theirs_p * (np.log(theirs_p + 1e-30) - np.log(ours_p + 1e-30))).sum(1)
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    return (
        f'logits differ by {wide.mean():.2%} in the mean and {wide.max():.2%} at most, '
        f'divergence {divergence.mean():.5f} nats, most probable token the same in {same} of '
        f'{len(ours)}'
    )


def main() -> None:
    """Prints a line for each checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', 1)[0])
    parser.add_argument('checkpoints', nargs='+', type=Path)
    parser.add_argument('--tokens', type=int, default=48)
    options = parser.parse_args()
    for checkpoint in options.checkpoints:
        use(computing_machine())
        with tempfile.TemporaryDirectory() as name:
            folder, teacher, rows = Path(name), '', []
            for cache in ('', 'int8'):
                bundle = built(checkpoint, folder / f'kv{cache or 16}', cache)
                arrays = logits_of(bundle, folder, teacher, options.tokens)
                teacher = teacher or str(arrays)
                rows.append(read_answer(arrays).logits)
            print(f'{checkpoint.name}: {words_of(rows[1], rows[0])}', flush=True)


if __name__ == '__main__':
    main()
