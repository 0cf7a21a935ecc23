# SPDX-License-Identifier: Apache-2.0
"""How fast a bundle prefills and decodes, next to llama.cpp and to a plain network in PyTorch, all
in one run.

Decoding reads every weight once per token, so it is also given as a share of the memory bandwidth;
prefilling is also given as a share of the rate at which int8 matrices are multiplied. Both limits
are measured in the same run. The runtimes take turns, so that a change of the machine's load meets
all. llama.cpp runs when the package llama-cpp-python is installed, on random weights of the same
shape (Q4_0, embedding and head Q8_0), which are written beside the bundle.

    tools/random_checkpoint.py --shape 2b --dtype bfloat16 /tmp/2b
    penguin build /tmp/2b --precision int4 --out /tmp/2b_int4
    python benchmarks/decode.py /tmp/2b_int4 --checkpoint /tmp/2b
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decode_runtime import DecodeFigures, DecodeTask
from gguf_file import write_gguf
from machine_rates import rates
from markdown_table import print_table

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.weights import decoder_bytes
from penguin_ros.benchmark.machine import machine
from penguin_ros.checkpoint.shapes import TransformerShape

REFERENCES = ('llama.cpp', 'torch', 'onnxruntime')
"""What the others are compared with: the first of these that runs."""


@dataclass(frozen=True)
class Runtime:
    """What a runtime runs, the bytes of weights that a token reads, and its rounds so far."""

    path: str
    weight_bytes: int
    rounds: list[DecodeFigures] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median of a figure over the rounds."""
        return statistics.median(getattr(each, name) for each in self.rounds)


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
        '--position',
        type=int,
        default=700,
        help='tokens before the first one decoded (default: %(default)s)',
    )
    parser.add_argument(
        '--steps', type=int, default=48, help='tokens decoded (default: %(default)s)'
    )
    parser.add_argument(
        '--chunk', type=int, default=256, help='tokens prefilled at a time (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=int, default=usable_cores(), help='(default: %(default)s)'
    )
    parser.add_argument('--rounds', type=int, default=3, help='(default: %(default)s)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every measurement')
    return parser.parse_args()


def runtimes(options: argparse.Namespace, bundle: Bundle) -> dict[str, Runtime]:
    """The runtimes that can run here, by name. The rotary tables among the weights are small."""
    found = {'onnxruntime': Runtime(str(options.bundle), decoder_bytes(bundle, 'full'))}
    if options.checkpoint and importlib.util.find_spec('torch'):
        size = 2 * bundle.manifest.parameters['language']
        found['torch'] = Runtime(str(options.checkpoint), size)
    if importlib.util.find_spec('llama_cpp'):
        path = options.bundle.with_suffix('.gguf')
        size = write_gguf(path, bundle.shape.llm, bundle.shape.vocabulary_size, 4096)
        found['llama.cpp'] = Runtime(str(path), size)
    return found


def measure(name: str, path: str, options: argparse.Namespace) -> DecodeFigures:
    """One measurement in a process of its own."""
    task = DecodeTask(name, path, options.position, options.steps, options.chunk, options.threads)
    program = Path(__file__).with_name('decode_runtime.py')
    done = subprocess.run(
        [sys.executable, str(program), json.dumps(vars(task))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return DecodeFigures(**json.loads(done.stdout.splitlines()[-1]))


def multiplied(llm: TransformerShape) -> int:
    """The parameters of the LLM's matrices but the head: each is multiplied once per token."""
    attention = llm.hidden_size * llm.head_dim * 2 * (llm.heads + llm.kv_heads)
    return llm.layers * (attention + 3 * llm.hidden_size * llm.ffn_size)


def rows(
    found: dict[str, Runtime], limits: dict[str, float], position: int, parameters: int
) -> list[dict[str, Any]]:
    """Medians over the rounds, and ratios to the reference."""
    table = []
    for name, runtime in found.items():
        decode, prefill = runtime.median('decode'), runtime.median('prefill')
        operations = 2 * parameters * position / prefill
        table.append(
            {
                'runtime': name,
                'decode tok/s': 1 / decode,
                'prefill tok/s': position / prefill,
                '% of bandwidth': 100 * runtime.weight_bytes / decode / limits['bandwidth'],
                '% of int8 rate': 100 * operations / limits['int8'],
                'load s': runtime.median('load'),
                'memory GB': max(each.peak_bytes for each in runtime.rounds) / 1e9,
            }
        )
    base = next(name for name in REFERENCES if name in found)
    reference = next(row for row in table if row['runtime'] == base)
    for row in table:
        row[f'decode : {base}'] = row['decode tok/s'] / reference['decode tok/s']
        row[f'prefill : {base}'] = row['prefill tok/s'] / reference['prefill tok/s']
    return table


def main() -> None:
    """Prints a table in Markdown."""
    options = parsed()
    bundle = open_bundle(options.bundle, is_thorough=False)
    found = runtimes(options, bundle)
    limits = rates(options.threads)
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for name, runtime in found.items():
            runtime.rounds.append(measure(name, runtime.path, options))
        limits = {name: max(value, limits[name]) for name, value in rates(options.threads).items()}
    table = rows(found, limits, options.position, multiplied(bundle.shape.llm))
    print(
        f'{bundle.name}, {bundle.manifest.precision.linears}; position {options.position}, '
        f'chunks of {options.chunk}, medians of {options.rounds} rounds; '
        f'{machine(options.threads)}, load {load:.1f} at the start;\n'
        f'{limits["bandwidth"] / 1e9:.1f} GB/s, {limits["int8"] / 1e9:.0f} Gop/s in int8, '
        f'{limits["float32"] / 1e9:.0f} in float32\n'
    )
    print_table(table)
    if options.json:
        measured = {
            name: [vars(each) for each in runtime.rounds] for name, runtime in found.items()
        }
        options.json.write_text(json.dumps({'limits': limits, 'rounds': measured}, indent=1))


if __name__ == '__main__':
    main()
