# SPDX-License-Identifier: Apache-2.0
"""The check of a bundle: whether it answers an image here, and with the same numbers as ONNX
Runtime.

It takes one image and few tokens, in processes of their own with a time limit, so that neither a
large model nor a crash of a driver holds the report up. What is too large for that is left to
`penguin bench engine`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from penguin_ros.backends.base.bundle import read_manifest
from penguin_ros.backends.base.manifest import Manifest
from penguin_ros.benchmark.engine.rounds import run_apart
from penguin_ros.benchmark.engine.tasks import EngineRunner, EngineTask, Round
from penguin_ros.benchmark.tasks import ONNXRUNTIME, Target, TargetError
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError

MOST_WEIGHT_BYTES = 2_500_000_000
"""The most bytes of weights that are tried; an int4 bundle of the 2B model has 1.6 GB, which takes
seconds to load.
"""

MEMORY_FACTOR = 1.5
"""How many times the size of the weights must be free in memory."""

LIMIT_S = 120.0
TOKENS = 8

LEAST_COSINE = 0.99
"""The least cosine between two runtimes of the same weights. Float16 against float32 gives 0.9999
on a tiny random network; a wrong layout, mask or order of channels costs far more.
"""


def engine(
    folder: str,
    checkpoint: str = '',
    runner: EngineRunner = lambda task: run_apart(task, LIMIT_S),
) -> Iterator[Finding]:
    """Runs the bundle on the stored image and compares it with ONNX Runtime on its graphs, or,
    where there are none for it or it runs them itself, with `checkpoint` on PyTorch.

    Yields nothing about a bundle that cannot be opened: `machine_checks.bundle` does.
    """
    try:
        manifest = read_manifest(Path(folder))
    except PenguinError:
        return
    command = _bench_command(folder, manifest, checkpoint)
    reason = _too_large(manifest)
    if reason:
        yield Finding('engine', State.NOTE, f'not tried: {reason}', command)
        return
    with tempfile.TemporaryDirectory(prefix='penguin_doctor_') as scratch:
        arrays = [Path(scratch) / f'{number}.npz' for number in range(2)]
        ours = _run(Target(folder), arrays[0], '', runner)
        if ours.error is not None:
            text = f'does not run here: {_text(ours.error)}'
            yield Finding('engine', State.FAULT, text, ours.error.fix)
            return
        yield _ran(ours)
        other = _other(folder, manifest, checkpoint)
        if isinstance(other, str):
            yield Finding('agreement', State.NOTE, f'not compared: {other}')
            return
        theirs = _run(other, arrays[1], str(arrays[0]), runner)
        if theirs.error is not None:
            text = f'not compared: {other.name} does not run here: {_text(theirs.error)}'
            yield Finding('agreement', State.NOTE, text, theirs.error.fix)
            return
        yield _agreement(arrays, ours, other, command)


def _too_large(manifest: Manifest) -> str:
    """Says why a run would take more time or memory than a check may; '' when it would not."""
    from penguin_ros.benchmark.machine import available_bytes

    size = manifest.weight_bytes
    free = available_bytes()
    if size > MOST_WEIGHT_BYTES:
        return _long(size)
    if free and free < MEMORY_FACTOR * size:
        return f'{size / 1e9:.1f} GB of weights, {free / 1e9:.1f} GB of memory are free'
    return ''


def _long(size: int) -> str:
    return f'{size / 1e9:.1f} GB of weights take longer than a check may'


def _other(folder: str, manifest: Manifest, checkpoint: str) -> Target | str:
    """What the bundle is compared with, or the reason why it is not."""
    if manifest.graphs and manifest.backend != ONNXRUNTIME:
        return Target(folder, ONNXRUNTIME)
    if not Path(checkpoint).is_dir() or not checkpoint:
        return (
            'it has no graphs for another runtime; with the folder of --checkpoint it is compared '
            'with PyTorch'
        )
    size = sum(path.stat().st_size for path in Path(checkpoint).glob('*.safetensors'))
    return (
        _long(size)
        if size > MOST_WEIGHT_BYTES
        else Target(checkpoint, '', {'model.backend': 'torch', 'model.device': 'cpu'})
    )


def _run(target: Target, arrays: Path, teacher: str, runner: EngineRunner) -> Round:
    return runner(
        EngineTask(target, max_tokens=TOKENS, is_short=True, arrays=str(arrays), teacher=teacher)
    )


def _ran(ours: Round) -> Finding:
    facts = ours.facts
    samples = ours.samples
    return Finding(
        'engine',
        State.OK,
        f'{facts["name"]} on {facts["device"]}, {facts["precision"]}: loaded in '
        f'{samples["load_s"]:.1f} s, first token of an image '
        f'({facts["prompt_tokens"]} tokens) after '
        f'{samples["first_token_s"]:.2f} s',
    )


def _agreement(arrays: Sequence[Path], ours: Round, other: Target, command: str) -> Finding:
    """Compares what both computed. A difference is a fault only where both run the same weights, so
    that nothing but rounding may differ: our graphs, or both in float32.
    """
    from penguin_ros.benchmark.engine.agreement_figures import agreement_figures
    from penguin_ros.benchmark.engine.answer_arrays import read_answer

    try:
        figures = agreement_figures(*(read_answer(path) for path in arrays))
    except PenguinError as error:
        return Finding('agreement', State.FAULT, _text(TargetError.of(error)), error.fix)
    values = {figure.name: figure for figure in figures}
    features, logits = (
        values[name].value or 0.0 for name in ('features, cosine', 'logits, cosine')
    )
    same = values['top-1 agreement'].how.partition(',')[0]
    text = (
        f'with {other.name}: cosine of features {features:.5f}, of logits {logits:.5f}; '
        f'most probable token the same in {same}'
    )
    precision = ours.facts['precision']
    if not other.graphs_in and precision != 'float32':
        return Finding(
            'agreement', State.OK, f'{text}; {precision} against float32, which is not judged'
        )
    if min(features, logits) < LEAST_COSINE:
        return Finding(
            'agreement',
            State.FAULT,
            f'{text}: more than rounding',
            f'Build it again; if that does not help, report what this says: {command}',
        )
    return Finding('agreement', State.OK, text)


def _bench_command(folder: str, manifest: Manifest, checkpoint: str) -> str:
    """The command that measures without these limits."""
    has_other = manifest.graphs and manifest.backend != ONNXRUNTIME
    against = ONNXRUNTIME if has_other else checkpoint
    return f'penguin bench engine {folder}' + (f' --against {against}' if against else '')


def _text(error: TargetError) -> str:
    return f'{error.what}: {error.why}'.rstrip(': ')
