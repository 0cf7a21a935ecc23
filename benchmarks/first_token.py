# SPDX-License-Identifier: Apache-2.0
"""How long a clip takes from its frames to the first token when nothing of it is in a cache: images
prepared, encoded, prefilled.

The clip has eight frames of 640 x 360, of which seven differ little from the first, as seen by a
camera that stands; the budget is 1024 visual tokens. A bundle on ONNX Runtime runs next to a plain
bfloat16 network in PyTorch, each with the reference's sizes (one large key frame) and with fixed
ones (equal, smaller frames). Every measurement is a process of its own; the runtimes take turns.

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
from markdown_table import print_table

from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.machine import machine
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip
from penguin_ros.steps import run_to_end

BUDGET = 1024
CHUNK = 256
PHASES = ('prepare', 'encode', 'prefill')
POLICIES = ('reference', 'fixed')


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
        '--policy',
        nargs='+',
        choices=POLICIES,
        default=POLICIES,
        help='how frames are sized (default: both ways)',
    )
    parser.add_argument(
        '--threads', type=int, default=usable_cores(), help='(default: %(default)s)'
    )
    parser.add_argument('--rounds', type=int, default=2, help='(default: %(default)s)')
    parser.add_argument('--one', help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(runtime: str, path: str, policy: str, threads: int) -> dict[str, Any]:
    """The seconds of each phase, measured in this process."""
    from penguin_ros.benchmark.engine.model import open_target
    from penguin_ros.benchmark.tasks import Target
    from penguin_ros.generation.chunks import prompt_chunks

    settings = {
        'model.backend': runtime,
        'model.device': 'cpu',
        'model.precision': 'bfloat16' if runtime == 'torch' else 'auto',
        'model.threads': threads,
        'model.max_length': 2048,
        'visual.policy': policy,
        'visual.max_visual_tokens': BUDGET,
    }
    opened = open_target(Target(path, settings=settings))
    backend, preprocessor = opened.backend, opened.preprocessor()
    clip = stored_clip()
    times = [time.perf_counter()]
    inputs = preprocessor.clip_inputs(clip, QUESTION)
    times.append(time.perf_counter())
    features, slot = run_to_end(backend.encode(inputs.frames)), backend.new_slot()
    times.append(time.perf_counter())
    *chunks, last = prompt_chunks(inputs, features, CHUNK)
    for chunk in chunks:
        backend.forward(slot, chunk)
    backend.forward(slot, last, [-1])
    times.append(time.perf_counter())
    return {
        'patches': [len(frame.pixels) for frame in inputs.frames],
        'tokens': len(inputs.prompt.token_ids),
        **dict(zip(PHASES, np.diff(times).tolist(), strict=True)),
    }


def row(policy: str, runtime: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians over the rounds."""
    seconds = {phase: statistics.median(each[phase] for each in rounds) for phase in PHASES}
    return {
        'policy': policy,
        'runtime': runtime,
        'patches': '+'.join(map(str, rounds[0]['patches'])),
        'tokens': rounds[0]['tokens'],
        **{f'{phase} s': value for phase, value in seconds.items()},
        'first token s': sum(seconds.values()),
    }


def main() -> None:
    """Prints a table in Markdown."""
    options = parsed()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    paths = {'onnxruntime': options.bundle}
    if options.checkpoint and importlib.util.find_spec('torch'):
        paths['torch'] = options.checkpoint
    found: dict[tuple[str, str], list[dict[str, Any]]] = {
        (policy, runtime): [] for policy in options.policy for runtime in paths
    }
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for (policy, runtime), results in found.items():
            words = json.dumps([runtime, str(paths[runtime]), policy, options.threads])
            done = subprocess.run(
                [sys.executable, __file__, str(options.bundle), '--one', words],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f'{machine(options.threads)}, load {load:.1f} at the start, '
        f'medians of {options.rounds} rounds\n'
    )
    print_table([row(*key, results) for key, results in found.items()])


if __name__ == '__main__':
    main()
