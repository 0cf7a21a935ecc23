# SPDX-License-Identifier: Apache-2.0
"""A real parser and a real builder of NVIDIA, TensorRT for RTX, on every graph that a bundle for
TensorRT holds. Needs no GPU.

It builds ahead of time for a compute capability. It has no target for a Jetson, and what it builds
cannot be loaded without a driver, so this proves that graphs are legal and buildable, not how fast
or how exact they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.wheels import CUDA_VERSIONS, RTX_VERSIONS, cuda_bindings, tensorrt_for_rtx

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import PRECISIONS, ROWWISE, BuildChoice
from penguin_ros.testing import random_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
BUILDER = Path(__file__).resolve().parents[1] / 'support' / 'build_with_rtx.py'
OLDEST, NEWEST = RTX_VERSIONS
LAYERS, VISION_LAYERS = 2, 2
SMALL = replace(
    random_checkpoint.SHAPES['tiny'],
    llm=TransformerShape(LAYERS, 512, 1024, 4, 2, 128, 1e6, 1e-6),
    encoder=TransformerShape(VISION_LAYERS, 256, 512, 4, 2, 64, 1e6, 1e-6),
    vocabulary_size=675,
)
"""Heads as in the published models, everything else small. Block 128 does not divide the 588 values
of a patch; 128 does not divide the vocabulary, so the head is filled up.
"""

CHOICES = {
    **{
        precision: BuildChoice('tensorrt', precision)
        for precision in PRECISIONS
        if precision != ROWWISE
    },
    'int8 encoder': BuildChoice('tensorrt', 'int8', vision='int8'),
    'int8 head': BuildChoice('tensorrt', 'int4', head='int8'),
    'float16 head': BuildChoice('tensorrt', 'int4', head='float16'),
    'bfloat16 around int4': BuildChoice('tensorrt', 'int4', compute='bfloat16'),
}
OUTCOME = dict[str, Any]
Results = Callable[[str, str, str], dict[str, OUTCOME]]


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """(RTX version, choice, target) to what became of every candidate; each computed once."""
    folder = tmp_path_factory.mktemp('rtx')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(random_checkpoint.SHAPES, 'small', SMALL)
        checkpoint = random_checkpoint.write_random_checkpoint(
            folder / 'checkpoint', 'small', dtype='bfloat16'
        )

    @cache
    def bundle(choice: str) -> Path:
        return build_bundle(
            open_checkpoint(checkpoint),
            folder / choice.replace(' ', '_'),
            BuildOrder(CHOICES[choice], 1024),
        )

    @cache
    def results(version: str, choice: str, target: str) -> dict[str, OUTCOME]:
        wheels = (tensorrt_for_rtx(version), cuda_bindings(CUDA_VERSIONS[-1]))
        path = os.pathsep.join(map(str, (ROOT, *wheels)))
        done = subprocess.run(
            [sys.executable, str(BUILDER), str(bundle(choice)), target],
            timeout=1200,
            check=False,
            env={**os.environ, 'PYTHONPATH': path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, OUTCOME] = json.loads(done.stdout.splitlines()[-1])
        return found

    return results


def check_parsed(candidates: dict[str, OUTCOME]) -> None:
    """Every input is there, and the layers are the ones that the graph means."""
    variants = {(candidate['part'], candidate['variant']) for candidate in candidates.values()}
    assert variants - {('vision', 'plain_half')} == {
        ('decoder', 'window'),
        ('decoder', 'two_part'),
        ('vision', 'fused'),
        ('vision', 'plain'),
    }
    for name, candidate in candidates.items():
        layers = candidate['layers']
        assert sorted(candidate['inputs']) == sorted(candidate['expected_inputs']), name
        assert layers.get('DEQUANTIZE', 0) == candidate['quantised'], name
        assert layers.get('TOPK', 0) == (candidate['part'] == 'decoder'), name
        depth = {'window': LAYERS, 'fused': VISION_LAYERS}.get(candidate['variant'], 0)
        assert layers.get('ATTENTION_INPUT', 0) == layers.get('ATTENTION_OUTPUT', 0) == depth, name
        caches = LAYERS if candidate['variant'] == 'window' else 0
        assert (
            layers.get('KV_CACHE_UPDATE', 0) == layers.get('ROTARY_EMBEDDING', 0) == 2 * caches
        ), name


def check_built(candidates: dict[str, OUTCOME]) -> None:
    """All are built, with progress, at a sensible size."""
    for name, candidate in candidates.items():
        assert 'error' not in candidate, f'{name}: {candidate["error"]}'
        assert candidate['engine_bytes'] > candidate['weight_bytes'] * 0.9, name
        count, least, most = candidate['progress']
        assert count > 10 and least >= 0 and 0.5 < most <= 1, name


@pytest.mark.parametrize('choice', CHOICES)
def test_the_newest_parses_and_builds_every_variant(built: Results, choice: str) -> None:
    candidates = built(NEWEST, choice, 'SM86')
    check_parsed(candidates)
    if choice == 'float32':
        # There is no fused kernel for float32, which is what the decomposable ones are for.
        refused = [name for name, candidate in candidates.items() if 'error' in candidate]
        assert refused == [
            'decoder: window, one copy of the weights',
            'decoder: window, decoding 1 to 8 tokens',
            'vision: fused',
        ]
        assert all('decomposable' in candidates.pop(name)['error'] for name in refused)
    check_built(candidates)


@pytest.mark.parametrize('choice', ['float16', 'bfloat16'])
def test_the_oldest_builds_what_has_float_weights(built: Results, choice: str) -> None:
    candidates = built(OLDEST, choice, 'SM86')
    check_parsed(candidates)
    if choice == 'float16':
        # It has no kernel for a single row; a range of rows comes after.
        for form in ('window', 'window, decomposable'):
            assert 'error' in candidates[f'decoder: {form}, one copy of the weights']
    check_built(
        {
            name: candidate
            for name, candidate in candidates.items()
            if choice != 'float16' or 'window' not in name or 'one copy' not in name
        }
    )


@pytest.mark.parametrize('target', ['SM80', 'SM89', 'SM120', 'SM121', ''])
def test_every_gpu_that_the_newest_takes_gets_engines_of_int4(built: Results, target: str) -> None:
    check_built(built(NEWEST, 'int4', target))


@pytest.mark.parametrize('choice', ['float16', 'int8'])
def test_a_card_of_the_rtx_20_family_gets_engines_of_float16_and_int8(
    built: Results, choice: str
) -> None:
    check_built(built(NEWEST, choice, 'SM75'))


@pytest.mark.parametrize(
    ('choice', 'words'),
    [('int4', ('sm75', 'int4')), ('bfloat16', ('sm75', 'b16')), ('float32', ('SM75', 'FP32 GEMM'))],
)
def test_a_card_of_the_rtx_20_family_gets_none_of_another_format_and_is_told_why(
    built: Results, choice: str, words: tuple[str, ...]
) -> None:
    candidates = built(NEWEST, choice, 'SM75')
    errors = [one.get('error', '') for one in candidates.values() if one['part'] == 'decoder']
    assert errors and all(word in error for error in errors for word in words)


@pytest.mark.parametrize(
    ('version', 'known'),
    [(OLDEST, '7.5, 8.0, 8.6, 8.9, 12.0;'), (NEWEST, '7.5, 8.0, 8.6, 8.9, 12.0, 12.1;')],
)
def test_the_check_of_a_gpu_builds_its_layer_and_lists_what_the_library_names(
    built: Results, version: str, known: str
) -> None:
    """There is no driver here, so the engine does not load; on an H200 it did not either."""
    found = built(version, 'float16', 'check')
    assert f'TensorRT for RTX {version} does not run on NVIDIA H200' in str(found['what'])
    assert f'it builds for {known} an engine of one layer does not load: ' in str(found['why'])
    assert 'Cuda Runtime' in str(found['why'])


@pytest.mark.parametrize('choice', ['int4', 'int8'])
def test_the_oldest_parses_integer_weights(built: Results, choice: str) -> None:
    """They are only parsed: building them needs a GPU with this version."""
    candidates = built(OLDEST, choice, 'parse')
    check_parsed(candidates)
    assert not [name for name, candidate in candidates.items() if 'error' in candidate]


@pytest.mark.parametrize(
    ('choice', 'name'),
    [('int8', 'decoder: window'), ('int4', 'decoder: window'), ('int4', 'decoder: two_part')],
)
def test_integer_weights_stay_packed_in_the_engine(built: Results, choice: str, name: str) -> None:
    """An engine of unpacked weights would be as large as one of float16 weights; it is smaller by
    most of the difference.
    """
    narrow = built(NEWEST, choice, 'SM86')[name]
    wide = next(
        candidate
        for candidate in built(NEWEST, 'float16', 'SM86').values()
        if candidate['variant'] == narrow['variant'] and 'one copy' not in candidate['name']
    )
    saved = wide['weight_bytes'] - narrow['weight_bytes']
    assert saved > 4_000_000
    assert wide['engine_bytes'] - narrow['engine_bytes'] > 0.7 * saved


@pytest.mark.parametrize('variant', ['window', 'two_part'])
def test_float_weights_for_one_row_are_there_twice_whatever_is_asked(
    built: Results, variant: str
) -> None:
    """`extra_memory_target` does not keep this library from it, so the size of the engine has the
    last word.
    """
    candidates = built(NEWEST, 'float16', 'SM86')
    doubled = candidates[f'decoder: {variant}, one copy of the weights']
    single = candidates[f'decoder: {variant}, decoding 1 to 8 tokens']
    extra = doubled['engine_bytes'] - single['engine_bytes']
    assert extra > 0.7 * single['weight_bytes']


@pytest.mark.parametrize('choice', ['int4', 'float16 head'])
def test_int4_builds_without_zero_points_too_and_for_one_row_it_is_there_once(
    built: Results, choice: str
) -> None:
    candidates = built(NEWEST, choice, 'SM86')
    for variant in ('window', 'two_part'):
        plain = candidates[f'decoder: {variant}']
        other = candidates[f'decoder: {variant}, without zero points']
        assert other['engine_bytes'] == plain['engine_bytes']
        assert other['layers']['DEQUANTIZE'] == plain['layers']['DEQUANTIZE'] > 0
        ranged = candidates[f'decoder: {variant}, decoding 1 to 8 tokens']
        assert plain['engine_bytes'] < 1.1 * ranged['engine_bytes']


def test_softmax_without_casts_builds(built: Results) -> None:
    for choice in ('float16', 'bfloat16', 'int4'):
        candidate = built(NEWEST, choice, 'SM86')['vision: plain_half']
        assert candidate['layers']['SOFTMAX'] == VISION_LAYERS and 'engine_bytes' in candidate


def test_an_interrupt_ends_the_build_and_not_the_process(built: Results) -> None:
    """The build ends within a few steps of hundreds, although the interrupt arrives inside a
    callback of the builder.
    """
    result = built(NEWEST, 'float16', 'interrupt')
    assert not result['has_engine'] and 5 <= int(result['steps']) < 60  # type: ignore[call-overload]
