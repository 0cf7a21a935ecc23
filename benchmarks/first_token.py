# SPDX-License-Identifier: Apache-2.0
"""How long a clip takes from its frames to the first token, nothing of it known before: pictures
prepared, encoded, prefilled.

Eight frames of 640 x 360, of which seven differ little from the first, as of a camera that stands;
budget: 1024 visual tokens. A bundle on ONNX Runtime next to a plain bfloat16 network in PyTorch,
each with the reference's sizes (one large key frame) and with fixed ones (equal, smaller frames).
Every measurement is a process of its own; sides take turns.

    python benchmarks/first_token.py /tmp/2b_int4 --checkpoint /tmp/2b
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.machine import machine
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip
from penguin_ros.steps import run_to_end

BUDGET = 1024
CHUNK = 256
PHASES = ('prepare', 'encode', 'prefill')


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, help='built by penguin build')
    parser.add_argument(
        '--checkpoint', type=Path, help='the checkpoint that it was built from, for PyTorch'
    )
    parser.add_argument(
        '--policy', nargs='+', choices=('reference', 'fixed'), default=['reference', 'fixed']
    )
    parser.add_argument(
        '--threads', type=int, default=usable_cores(), help='(default: %(default)s)'
    )
    parser.add_argument('--rounds', type=int, default=2, help='(default: %(default)s)')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(side: str, path: str, policy: str, threads: int) -> dict[str, Any]:
    """Seconds of each phase, in this process."""
    from penguin_ros.backends.open_backend import make_backend
    from penguin_ros.config import ModelConfig, VisualConfig
    from penguin_ros.generation.chunks import prompt_chunks
    from penguin_ros.preprocessing.clip_inputs import Preprocessor
    from penguin_ros.requests.loaded_model import open_model

    is_torch = side == 'torch'
    config = ModelConfig(
        checkpoint=path if is_torch else '',
        bundle='' if is_torch else path,
        backend=side,
        device='cpu',
        precision='bfloat16' if is_torch else 'auto',
        kv_slots=1,
        threads=threads,
        max_length=2048,
    )
    model = open_model(config, lambda line: None)
    backend = make_backend(config, model)
    backend.open()
    preprocessor = Preprocessor(
        model.shape, model.tokenizer, VisualConfig(policy=policy, max_visual_tokens=BUDGET)
    )
    clip = stored_clip()
    times = [time.perf_counter()]
    inputs = preprocessor.clip_inputs(clip, QUESTION)
    times.append(time.perf_counter())
    features, slot = run_to_end(backend.encode(inputs.frames)), backend.new_slot()
    times.append(time.perf_counter())
    chunks = list(prompt_chunks(inputs, features, CHUNK))
    for index, chunk in enumerate(chunks):
        backend.forward(slot, chunk, [-1] if index + 1 == len(chunks) else [])
    times.append(time.perf_counter())
    return {
        'patches': [len(frame.pixels) for frame in inputs.frames],
        'tokens': len(inputs.prompt.token_ids),
        **dict(zip(PHASES, np.diff(times).tolist(), strict=True)),
    }


def main() -> None:
    """Prints a table in Markdown."""
    options = parsed()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    sides = {'onnxruntime': options.bundle}
    if options.checkpoint and importlib.util.find_spec('torch'):
        sides['torch'] = options.checkpoint
    found: dict[tuple[str, str], list[dict[str, Any]]] = {
        (policy, side): [] for policy in options.policy for side in sides
    }
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for (policy, side), results in found.items():
            words = json.dumps([side, str(sides[side]), policy, options.threads])
            done = subprocess.run(
                [sys.executable, __file__, str(options.bundle), '--one', words],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f'{machine(options.threads)}, load {load:.1f} at the start, medians of {options.rounds} rounds\n'
    )
    print(
        '| policy | side | patches | tokens | prepare s | encode s | prefill s | first token s |\n|'
        + '---|' * 8
    )
    for (policy, side), results in found.items():
        seconds = [statistics.median(each[phase] for each in results) for phase in PHASES]
        sizes = '+'.join(map(str, results[0]['patches']))
        print(
            f'| {policy} | {side} | {sizes} | {results[0]["tokens"]} | '
            + ' | '.join(f'{value:.2f}' for value in (*seconds, sum(seconds)))
            + ' |'
        )


if __name__ == '__main__':
    main()
