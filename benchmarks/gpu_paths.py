# SPDX-License-Identifier: Apache-2.0
"""The ways to run the model on a GPU, side by side in one run: torch plain and with CUDA graphs,
ONNX Runtime's CUDA provider where it is installed, and plain transformers as a yardstick.

One command, no network, under ten minutes on one GPU with torch and transformers: it writes a
random checkpoint of the 2B shape, measures the ways in turns, and the yardstick, then compares them
with each other and with stored values of the reference; it prints medians, ratios, and the share of
what the memory allows. Each part has a limit, and the file is complete after every figure. `--tiny`
runs all of it on a CPU with a tiny network, to rehearse: its figures mean nothing.

    python benchmarks/gpu_paths.py --json gpu_paths.json
    python benchmarks/gpu_paths.py --tiny
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from gpu_agreement import compared
from gpu_measures import FULL, TINY, measures
from gpu_parts import Part, Record, require, run_parts

from penguin_ros.benchmark.engine.model import Opened, open_target
from penguin_ros.benchmark.machine import device_copy_rate
from penguin_ros.benchmark.tasks import Target
from penguin_ros.errors import PenguinError
from penguin_ros.settings import Value
from penguin_ros.testing.random_checkpoint import SHAPES, write_random_checkpoint

PLAIN, GRAPHS = 'torch, plain', 'torch, CUDA graphs'
WANTED_MS = {
    'first token, cold': 130.0,
    'question, watched clip': 15.0,
    'next caption': 40.0,
    'token at 700': 1000 / 300,
}
"""What is aimed at on an H100 or H200 with the 2B in bfloat16."""


@dataclass
class Side:
    """A way to run the model: its settings, and its figures in milliseconds by pass and round."""

    name: str
    settings: Mapping[str, Value]
    figures: dict[str, list[float]] = field(default_factory=dict)
    error: str = ''

    def medians(self) -> dict[str, float]:
        """Returns the median of each pass over the rounds."""
        return {name: statistics.median(values) for name, values in self.figures.items()}


def sides_of(is_tiny: bool) -> list[Side]:
    """Returns the ways of this package that this machine has."""
    common: dict[str, Value] = {'model.backend': 'torch', 'model.device': 'cuda'}
    common['model.precision'] = 'bfloat16'
    if is_tiny:
        common |= {'model.device': 'cpu', 'model.precision': 'float32'}
        common |= {'model.max_length': 1024, 'visual.max_visual_tokens': 128}
    sides = [
        Side(PLAIN, {**common, 'model.cuda_graphs': False}),
        Side(GRAPHS, {**common, 'model.cuda_graphs': True}),
    ]
    if not is_tiny and 'CUDAExecutionProvider' in _providers():
        onnx: dict[str, Value] = {'model.backend': 'onnxruntime', 'model.device': 'cuda'}
        sides.append(Side('onnxruntime, float16', {**onnx, 'model.precision': 'float16'}))
        sides.append(Side('onnxruntime, int4', {**onnx, 'model.precision': 'int4'}))
    return sides


def _providers() -> list[str]:
    if importlib.util.find_spec('onnxruntime') is None:
        return []
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def parity(golden: Path, options: list[str], limit_s: float) -> str:
    """Returns the last line of `penguin parity` in a process of its own, which is ended after its
    limit.
    """
    command = [sys.executable, '-m', 'penguin_ros.cli.main', 'parity', str(golden), *options]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=_environment(),
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return f'ended after {limit_s:.0f} s'
    lines = [line for line in result.stdout.splitlines() if line.strip()] or [result.stderr[-300:]]
    return f'exit code {result.returncode}: {lines[-1]}'


def transformers_figures(shape: str, is_tiny: bool) -> dict[str, dict[str, float]]:
    """Returns the milliseconds of the yardstick by its ways; none where it does not run."""
    program = Path(__file__).with_name('gpu_transformers.py')
    sizes = ['60', '8'] if is_tiny else ['1111', '64']
    command = [sys.executable, str(program), shape, 'cpu' if is_tiny else 'cuda', *sizes]
    result = subprocess.run(
        command, capture_output=True, text=True, env=_environment(), check=False, timeout=100
    )
    if result.returncode:
        print(f'transformers: {result.stderr.strip().splitlines()[-1:]}', file=sys.stderr)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{')]
    return {line['way']: line['figures'] for line in lines}


def _environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'}


def opened_sides(sides: list[Side], checkpoint: Path) -> list[tuple[Side, Opened]]:
    """Opens all ways at once; one that cannot be opened is reported as such."""
    opened = []
    for side in sides:
        try:
            opened.append((side, open_target(Target(str(checkpoint), '', side.settings))))
        except PenguinError as error:
            side.error = str(error)
            print(f'{side.name}: {error}', file=sys.stderr)
    return opened


def measure(
    opened: list[tuple[Side, Opened]], rounds: int, is_tiny: bool, save: Callable[[], None]
) -> None:
    """Measures in turns; what the round before the first found stands until there is a better
    one.
    """
    for number in range(rounds + 1):
        for side, target in opened:
            print(f'round {number}, {side.name}', file=sys.stderr, flush=True)
            for name, milliseconds in measures(target, TINY if is_tiny else FULL):
                kept = side.figures.setdefault(name, [])
                kept[:] = [milliseconds] if number <= 1 else [*kept, milliseconds]
            save()


def float32_agreement(checkpoint: Path, is_tiny: bool) -> dict[str, Any]:
    """Compares both ways of torch in float32, where nothing but the order of additions may tell
    them apart: 1e-5 of a row's norm. Both are open for that time only.
    """
    settings: dict[str, Value] = {'model.precision': 'float32', 'model.kv_slots': 1}
    sides = [
        replace(side, settings={**side.settings, 'model.max_length': 2048, **settings})
        for side in sides_of(is_tiny)
        if side.name in (PLAIN, GRAPHS)
    ]
    opened = opened_sides(sides, checkpoint)
    try:
        return agreement(opened, 50 if is_tiny else 200, 1e-3)
    finally:
        for _, target in opened:
            target.backend.close()


def agreement(opened: list[tuple[Side, Opened]], steps: int, margin: float) -> dict[str, Any]:
    """Compares the graphs with the plain path, and counts memory before and after."""
    by_name = {side.name: target.backend for side, target in opened}
    if not {PLAIN, GRAPHS} <= set(by_name):
        return {}
    reserved = [_reserved_bytes()]
    found = compared(by_name[GRAPHS], by_name[PLAIN], steps, margin)
    reserved.append(_reserved_bytes())
    again = compared(by_name[GRAPHS], by_name[PLAIN], steps, margin, seed=1)
    reserved.append(_reserved_bytes())
    return {'first': vars(found), 'second': vars(again), 'reserved_bytes': reserved}


def _reserved_bytes() -> int:
    import torch

    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0


def report(record: dict[str, Any], sides: list[Side]) -> None:
    """Prints the table: milliseconds by way, the ratio of plain to graphs, the aim."""
    medians = {side.name: side.medians() for side in sides if side.figures}
    names = list(next(iter(medians.values()), {}))
    print(f'\n| ms | {" | ".join(medians)} | plain : graphs | aim |')
    print('|---|' + '---|' * (len(medians) + 2))
    for name in names:
        row = ' | '.join(f'{figures.get(name, float("nan")):.2f}' for figures in medians.values())
        ratio = medians.get(PLAIN, {}).get(name, 0) / medians.get(GRAPHS, {}).get(name, 1)
        print(f'| {name} | {row} | {ratio:.2f} | {WANTED_MS.get(name, "")} |')
    for way, figures in record.get('transformers', {}).items():
        print(f'{way}: ' + ', '.join(f'{name} {value:.2f} ms' for name, value in figures.items()))
    if record.get('limit_ms'):
        print(f'limit of memory: {record["limit_ms"]:.3f} ms a token ({record["copy"]})')
    for key in ('parity', 'agreement, float32', 'agreement'):
        print(f'{key}: {json.dumps(record.get(key))}')


class Run:
    """The parts of one run over the ways `sides`; what is found goes into the record."""

    def __init__(self, options: argparse.Namespace, record: Record, folder: Path) -> None:
        self.sides = sides_of(options.tiny)
        self._options = options
        self._is_tiny: bool = options.tiny
        self._shape = 'tiny' if options.tiny else '2b'
        self._record = record
        self._folder = folder
        self._written: Path | None = None

    def parts(self) -> list[Part]:
        """Returns the parts, the most valuable first."""
        return [
            Part('ways', 300, self._ways),
            Part('transformers', 110, self._transformers),
            Part('agreement, float32', 90, self._float32),
            Part('parity', 150, self._parity),
        ]

    def _checkpoint(self) -> Path:
        if self._written is None:
            dtype = 'float32' if self._is_tiny else 'bfloat16'
            self._written = write_random_checkpoint(
                self._folder / 'checkpoint', self._shape, dtype=dtype
            )
        return self._written

    def _note(self, name: str, value: Any) -> None:
        self._record.found[name] = value
        self._record.save()

    def _ways(self) -> None:
        rate, words = device_copy_rate() if not self._is_tiny else (None, 'not measured')
        self._note('copy', words)
        self._note('limit_ms', 1e3 * _decoder_bytes(self._shape) / rate if rate else None)
        opened = opened_sides(self.sides, self._checkpoint())

        def save() -> None:
            sides = {one.name: {'medians': one.medians(), 'error': one.error} for one in self.sides}
            self._note('sides', sides)

        try:
            measure(opened, self._options.rounds, self._is_tiny, save)
            margin = 1e-3 if self._is_tiny else 0.5
            self._note('agreement', agreement(opened, 100 if self._is_tiny else 400, margin))
        finally:
            save()
            for _, target in opened:
                target.backend.close()

    def _transformers(self) -> None:
        self._note('transformers', transformers_figures(self._shape, self._is_tiny))

    def _float32(self) -> None:
        found = float32_agreement(self._checkpoint(), self._is_tiny)
        self._note('agreement, float32', found)

    def _parity(self) -> None:
        golden = self._options.golden
        if not (golden / 'checkpoint').is_dir():
            self._note('parity', f'not run: there is no {golden / "checkpoint"}')
            return
        device, found = 'cpu' if self._is_tiny else 'cuda', {}
        for precision in ('float32',) if self._is_tiny else ('float32', 'bfloat16'):
            given = ['--backend', 'torch', '--device', device, '--precision', precision]
            found[precision] = parity(golden, given, 70 if not self._is_tiny else 250)
            self._note('parity', found)


def main() -> None:
    """Runs everything and writes what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n', 1)[0])
    parser.add_argument('--tiny', action='store_true', help='rehearse on a CPU')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--minutes', type=float, default=9.0, help='for all parts (default: 9)')
    parser.add_argument('--golden', type=Path, default=ROOT.parent / 'shared' / 'golden')
    parser.add_argument('--json', type=Path, help='the file that is complete after every figure')
    options = parser.parse_args()
    begin, record = time.monotonic(), Record(options.json)
    record.found['shape'] = 'tiny' if options.tiny else '2b'
    needed = {'torch': 'it is what is measured'}
    require(needed, {'transformers': 'there is no yardstick'}, record)
    with tempfile.TemporaryDirectory(prefix='penguin_gpu_paths_') as folder:
        run = Run(options, record, Path(folder))
        failed = run_parts(run.parts(), record, options.minutes)
    report(record.found, run.sides)
    print(f'{time.monotonic() - begin:.0f} s in all')
    sys.exit(1 if failed else 0)


def _decoder_bytes(shape_name: str) -> int:
    """The bytes of weights in bfloat16 that a decoded token reads."""
    shape = SHAPES[shape_name]
    llm = shape.llm
    attention = (llm.heads * 2 + llm.kv_heads * 2) * llm.head_dim * llm.hidden_size
    layer = attention + 3 * llm.hidden_size * llm.ffn_size
    return 2 * (llm.layers * layer + shape.vocabulary_size * llm.hidden_size)


if __name__ == '__main__':
    main()
