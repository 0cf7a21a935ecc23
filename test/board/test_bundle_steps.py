# SPDX-License-Identifier: Apache-2.0
"""The steps with a bundle on a fake machine: engines are built as was chosen, loaded, compared with
what ONNX Runtime computed, and timed; what overflows is named down to its layer.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.planted_boards import bench, board

from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest

STEPS = 'identity,cuda,memory,tensorrt,products,decoder_layer,encoder_layer'
STEPS += ',build,load,numbers,speed'
SHORT = 'identity,cuda,tensorrt,build,load,numbers'


@pytest.fixture(autouse=True)
def planted_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(board(tmp_path / 'root')))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture(scope='module')
def graphs(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with what ONNX Runtime computes."""
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from support.fake_gpu.bundles import tensorrt_bundle

    from penguin_ros.board.golden import write_golden

    made = tensorrt_bundle(tiny_checkpoint, tmp_path_factory.mktemp('b') / 'made', 'float16', 272)
    write_golden(made)
    return made


@pytest.fixture
def bundle(graphs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(graphs, tmp_path / 'bundle'))


def named(verdicts: list[dict[str, str]], topic: str) -> dict[str, str]:
    (found,) = [verdict for verdict in verdicts if verdict['topic'] == topic]
    return found


@pytest.mark.slow
def test_a_bundle_is_built_loaded_compared_and_timed(bundle: Path, tmp_path: Path) -> None:
    code, report, states = bench(tmp_path, str(bundle), '--steps', STEPS)
    assert code == 0 and not states['fault']
    steps = {step['name']: step for step in report['steps']}
    facts = steps['numbers']['facts']
    assert facts['has_golden'] and facts['feature_cosine'] > 0.999
    assert facts['logit_cosine'] > 0.995 and facts['same_token'] > 0.95
    assert facts['chunk_difference'] < 0.02 and facts['slot_difference'] < 0.02
    assert 'cosine of features' in named(states['ok'], 'numbers')['text']
    assert 'decoder window, vision fused; built in' in named(states['ok'], 'engines')['text']
    assert steps['build']['facts']['memory']['available_least'] > 0
    assert steps['speed']['facts']['decode']['32']['seconds'] > 0
    assert str(bundle) not in json.dumps(report)
    manifest = read_engine_manifest(bundle)
    assert manifest is not None
    requests = {engine.part: engine.request for engine in manifest.engines}
    assert requests['decoder'].startswith('max_rows=256 variant=window first=decoder: window')
    assert requests['vision'].startswith('max_patches=256')


@pytest.mark.slow
def test_engines_and_own_kernels_are_both_timed_and_the_faster_is_chosen(tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from support.fake_gpu.cuda_bundles import kernel_steps_bundle, small_checkpoint

    made = kernel_steps_bundle(
        small_checkpoint(tmp_path / 'checkpoint'), tmp_path / 'made', 272, 'both'
    )
    steps = 'identity,cuda,tensorrt,build,load,kernels'
    code, report, states = bench(tmp_path, str(made), '--steps', steps)
    assert code == 0 and not states['fault']
    facts = {step['name']: step for step in report['steps']}['kernels']['facts']
    for way in ('engines', 'kernels'):
        assert all(entry['seconds'] > 0 for entry in facts[way]['decode'].values())
        assert facts[way]['verify']['16']['seconds'] > 0
    assert 'own kernels for sm_87' in facts['kernels']['way']
    assert 'own kernels' not in facts['engines']['way']
    chosen = report['profile']['decode']
    assert f'{chosen} are faster' in named(states['ok'], 'decoding by')['text']


@pytest.mark.slow
def test_a_bundle_for_each_backend_answers_and_the_one_that_is_sooner_is_chosen(
    tmp_path: Path,
) -> None:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from support.fake_gpu.bundles import tensorrt_bundle
    from support.fake_gpu.cuda_bundles import cuda_bundle, small_checkpoint

    checkpoint = small_checkpoint(tmp_path / 'checkpoint')
    engines = tensorrt_bundle(checkpoint, tmp_path / 'engines', 'float16', 272)
    kernels = cuda_bundle(checkpoint, tmp_path / 'kernels', max_length=400)
    steps = 'identity,cuda,tensorrt,build,load,with_engines,with_kernels'
    code, report, states = bench(
        tmp_path, str(engines), '--against', str(kernels), '--steps', steps
    )
    assert code == 0 and not states['fault']
    facts = {step['name']: step['facts'] for step in report['steps']}
    for name, backend in (('with_engines', 'tensorrt'), ('with_kernels', 'cuda')):
        found = facts[name]
        assert found['backend'] == backend and found['first_token']['seconds'] > 0
        assert found['decode'].keys() == {'32', '200'}, 'slots of both have 272 positions'
        assert all(entry['seconds'] > 0 for entry in found['decode'].values())
        assert 'tokens/s at 200' in named(states['ok'], f'backend {backend}')['text']
    assert 'own kernels for sm_87' in facts['with_kernels']['way']
    chosen = report['profile']['backend']
    assert f'run the bundle for {chosen}' in named(states['ok'], 'backend')['text']
    assert 'no GPU' in named(states['note'], 'stand-in')['text']
    assert not [note for note in states['note'] if note['topic'] == 'backend'], 'they agree'
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.slow
def test_engines_that_fit_stay_and_a_killed_build_skips_the_rest(
    bundle: Path, tmp_path: Path
) -> None:
    bench(tmp_path, str(bundle), '--steps', SHORT)
    _, _, states = bench(tmp_path, str(bundle), '--steps', 'identity,cuda,tensorrt,build')
    assert 'kept' in named(states['ok'], 'engines')['text']
    code, report, states = bench(tmp_path, str(bundle), '--steps', SHORT, ends='build')
    steps = {step['name']: step for step in report['steps']}
    assert 'memory ran out' in steps['build']['why'] and code == 1
    assert steps['load']['why'] == 'build failed' and steps['numbers']['why'] == 'load was skipped'


@pytest.mark.slow
def test_float16_that_overflows_is_named_with_its_layer_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from support.fake_gpu.bundles import tensorrt_bundle

    from penguin_ros.testing import random_weights
    from penguin_ros.testing.random_checkpoint import write_random_checkpoint

    usual = random_weights._gain

    def large(name: str) -> float:
        is_large = name.startswith(('llm.layers.1.mlp.gate', 'llm.layers.1.mlp.up'))
        return usual(name) * (200 if is_large else 1)

    monkeypatch.setattr(random_weights, '_gain', large)
    checkpoint = write_random_checkpoint(tmp_path / 'checkpoint')
    made = tensorrt_bundle(checkpoint, tmp_path / 'made', 'float16', 272)
    code, report, states = bench(tmp_path, str(made), '--steps', SHORT)
    found = named(states['fault'], 'overflow')
    assert found['text'] == 'float16 overflows in layer 1 of the LLM' and code == 1
    assert '--compute bfloat16' in found['fix']
    assert report['profile']['compute'] == 'bfloat16'
    numbers = {step['name']: step for step in report['steps']}['numbers']['facts']
    assert numbers['maxima'][0] is not None and numbers['maxima'][1] is None
    way_out = tensorrt_bundle(checkpoint, tmp_path / 'way_out', 'bfloat16', 272)
    code, _, states = bench(tmp_path, str(way_out), '--steps', SHORT)
    assert code == 0 and 'finite' in named(states['note'], 'numbers')['text']


@pytest.mark.slow
def test_weights_that_are_not_those_of_the_golden_values_are_a_fault(
    bundle: Path, tmp_path: Path
) -> None:
    from penguin_ros.board.golden import GOLDEN

    with np.load(bundle / GOLDEN) as file:
        values: dict[str, Any] = dict(file)
    values['logits'] = values['logits'][:, ::-1]
    np.savez(bundle / GOLDEN, **values)
    code, _, states = bench(tmp_path, str(bundle), '--steps', SHORT)
    assert 'of logits' in named(states['fault'], 'numbers')['text'] and code == 1


@pytest.mark.slow
def test_a_soak_lasts_as_long_as_it_is_asked_to(bundle: Path, tmp_path: Path) -> None:
    steps = 'identity,cuda,tensorrt,build,load,speed,soak'
    _, report, states = bench(tmp_path, str(bundle), '--steps', steps, '--soak', '0.01')
    assert 'tokens, p50' in named(states['ok'], 'soak')['text']
    soak = report['steps'][-1]
    assert soak['name'] == 'soak' and soak['facts']['samples'][0]['available_bytes'] > 0


def test_a_bundle_for_another_backend_is_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.errors import BuildRefused, BundleNotFound

    pytest.importorskip('onnx', reason='onnx is not installed')
    from penguin_ros.export.build import BuildOrder, build_bundle

    other = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'other', BuildOrder())
    with pytest.raises(BuildRefused, match='is no bundle for TensorRT'):
        bench(tmp_path, str(other))
    with pytest.raises(BundleNotFound):
        bench(tmp_path, str(tmp_path / 'nowhere'))


def test_what_cannot_be_compared_is_refused_with_the_command(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.bundles import tensorrt_bundle
    from support.fake_gpu.cuda_bundles import cuda_bundle, small_checkpoint

    from penguin_ros.errors import BuildRefused, BundleMismatch, SettingError

    engines = str(tensorrt_bundle(tiny_checkpoint, tmp_path / 'engines', 'float16', 272))
    with pytest.raises(BuildRefused, match='no bundle for the backend cuda.*--backend cuda'):
        bench(tmp_path, engines, '--against', engines)
    kernels = str(cuda_bundle(small_checkpoint(tmp_path / 'other'), tmp_path / 'kernels'))
    with pytest.raises(BundleMismatch, match='of another model'):
        bench(tmp_path, engines, '--against', kernels)
    with pytest.raises(SettingError, match='nothing that it is compared with'):
        bench(tmp_path, '--against', kernels)
