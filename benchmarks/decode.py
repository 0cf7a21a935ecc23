# SPDX-License-Identifier: Apache-2.0
"""How fast a bundle prefills and decodes, next to llama.cpp and to a plain network in PyTorch, all
in one run.

Decoding reads every weight once per token, so it is given as a share of the memory bandwidth too;
prefilling is given as a share of the rate at which int8 matrices are multiplied. Both are measured
in the same run. Sides take turns, so that a change of the machine's load meets all. llama.cpp runs
when the package llama-cpp-python is installed, on random weights of the same shape (Q4_0, embedding
and head Q8_0), which are written beside the bundle.

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
from pathlib import Path
from typing import Any

from decode_sides import Figures, Task
from gguf_file import write_gguf
from machine_rates import rates

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.machine import machine


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


def sides(options: argparse.Namespace, bundle: Bundle) -> dict[str, tuple[str, int]]:
    """By name: what it runs, and the bytes of weights that a token reads."""
    found = {'onnxruntime': (str(options.bundle), weight_bytes(bundle))}
    if options.checkpoint and importlib.util.find_spec('torch'):
        found['torch'] = (str(options.checkpoint), 2 * bundle.manifest.parameters['language'])
    if importlib.util.find_spec('llama_cpp'):
        path = options.bundle.with_suffix('.gguf')
        found['llama.cpp'] = (
            str(path),
            write_gguf(path, bundle.shape.llm, bundle.shape.vocabulary_size, 4096),
        )
    return found


def weight_bytes(bundle: Bundle) -> int:
    """Of the LLM's weight file, less the rotary tables in it, which are small."""
    return sum(bundle.manifest.files[name].bytes for name in bundle.graph('decoder', 'full').needs)


def measure(side: str, path: str, options: argparse.Namespace) -> Figures:
    """One measurement in a process of its own."""
    task = Task(side, path, options.position, options.steps, options.chunk, options.threads)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name('decode_sides.py')), json.dumps(vars(task))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def rows(
    found: dict[str, tuple[str, int]],
    results: dict[str, list[Figures]],
    limits: dict[str, float],
    options: argparse.Namespace,
    parameters: int,
) -> list[dict[str, Any]]:
    """Medians over the rounds, and ratios to llama.cpp, or to PyTorch where that is absent."""
    base = next(side for side in ('llama.cpp', 'torch', 'onnxruntime') if side in found)
    table = []
    for side, figures in results.items():
        decode, prefill = (
            statistics.median(getattr(each, name) for each in figures)
            for name in ('decode', 'prefill')
        )
        table.append(
            {
                'side': side,
                'decode tok/s': 1 / decode,
                'prefill tok/s': options.position / prefill,
                '% of bandwidth': 100 * found[side][1] / decode / limits['bandwidth'],
                '% of int8 rate': 100
                * 2
                * parameters
                * options.position
                / prefill
                / limits['int8'],
                'load s': statistics.median(each.load for each in figures),
                'memory GB': max(each.peak_bytes for each in figures) / 1e9,
            }
        )
    reference = next(row for row in table if row['side'] == base)
    for row in table:
        row[f'decode : {base}'] = row['decode tok/s'] / reference['decode tok/s']
        row[f'prefill : {base}'] = row['prefill tok/s'] / reference['prefill tok/s']
    return table


def main() -> None:
    """Prints a table in Markdown."""
    options = parsed()
    bundle = open_bundle(options.bundle, is_thorough=False)
    found = sides(options, bundle)
    limits, results = rates(options.threads), {side: list[Figures]() for side in found}
    load = os.getloadavg()[0]
    for _ in range(options.rounds):
        for side, (path, _) in found.items():
            results[side].append(measure(side, path, options))
        limits = {name: max(value, limits[name]) for name, value in rates(options.threads).items()}
    llm, table = bundle.shape.llm, []
    per_layer = (
        llm.hidden_size * llm.head_dim * 2 * (llm.heads + llm.kv_heads)
        + 3 * llm.hidden_size * llm.ffn_size
    )
    table = rows(found, results, limits, options, llm.layers * per_layer)
    print(
        f'{bundle.name}, {bundle.manifest.precision.linears}; position {options.position}, chunks of {options.chunk}, '
        f'medians of {options.rounds} rounds; {machine(options.threads)}, load {load:.1f} at the start;\n'
        f'{limits["bandwidth"] / 1e9:.1f} GB/s, {limits["int8"] / 1e9:.0f} Gop/s in int8, {limits["float32"] / 1e9:.0f} in '
        'float32\n'
    )
    print('| ' + ' | '.join(table[0]) + ' |\n|' + '---|' * len(table[0]))
    for row in table:
        print(
            '| '
            + ' | '.join(
                value if isinstance(value, str) else f'{value:.2f}' for value in row.values()
            )
            + ' |'
        )
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    'limits': limits,
                    'rounds': {
                        side: [vars(each) for each in figures] for side, figures in results.items()
                    },
                },
                indent=1,
            )
        )


if __name__ == '__main__':
    main()
