# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine` on real bundles of two precisions, on wrong and damaged ones, and on
targets that die. No speed is judged.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from support.bench_runs import SHORT, agreement, bench, figures, onnx_bundle

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.benchmark.engine.rounds import run_apart, run_here
from penguin_ros.benchmark.engine.tasks import EngineTask, Round
from penguin_ros.benchmark.stored_clip import QUESTION, stored_clip
from penguin_ros.benchmark.tasks import Target, TargetError
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main
from penguin_ros.config import GenerationConfig, ModelConfig, VisualConfig
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import SamplingParams, generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.steps import run_to_end
from penguin_ros.testing.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='module')
def bundles(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of one checkpoint, by precision."""
    folder = tmp_path_factory.mktemp('bundles')
    return {
        precision: onnx_bundle(tiny_checkpoint, folder / precision, precision)
        for precision in ('float32', 'int8')
    }


@pytest.fixture(scope='module')
def compared(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of int8 against float32, two rounds."""
    code, record = bench(
        tmp_path_factory.mktemp('record'),
        bundles['int8'],
        '--against',
        bundles['float32'],
        '--rounds',
        '2',
    )
    assert code == exit_codes.DONE
    return record


def test_every_number_says_how_it_was_measured_and_in_what_unit(compared: dict[str, Any]) -> None:
    assert compared['format'] == 1 and compared['rounds'] == 2 and 'threads' in compared['machine']
    assert [target['name'] for target in compared['sides']] == ['int8', 'float32']
    for target in (0, 1):
        found = figures(compared, target)
        assert {
            'first token',
            'prepare',
            'encode',
            'prefill',
            'decode',
            'weights read per token',
            'weights read',
            'memory bandwidth',
            'share of it, weights',
            'share of it, with the KV cache',
            'memory, highest',
            'KV slot',
            'load',
        } <= set(found)
        assert all(figure['how'] and figure['unit'] for figure in found.values())
        assert all(
            figure['value'] is not None and figure['value'] >= 0 for figure in found.values()
        )
        assert len(found['decode']['rounds']) == 2
    assert all(figure['how'] for figure in compared['agreement']['figures'])


def test_the_parts_add_up(compared: dict[str, Any], bundles: dict[str, Path]) -> None:
    for target, folder in enumerate((bundles['int8'], bundles['float32'])):
        found, facts, manifest = (
            figures(compared, target),
            compared['sides'][target]['facts'],
            open_bundle(folder).manifest,
        )
        graph = manifest.graph('decoder', facts['variant'])
        assert graph is not None
        assert found['weights read per token']['value'] * 1e6 == sum(
            manifest.files[name].bytes for name in graph.needs
        )
        assert found['share of it, weights']['value'] == pytest.approx(
            100 * found['weights read']['value'] / found['memory bandwidth']['value']
        )
        assert (
            found['share of it, with the KV cache']['value']
            > found['share of it, weights']['value']
        )
        assert found['KV slot']['value'] * 1e6 == facts['slot_bytes'] and facts['max_length'] == 512


def test_precisions_differ_by_what_int8_costs(compared: dict[str, Any]) -> None:
    found = agreement(compared)
    assert 0.99 < found['features, cosine'] < 0.9999999
    assert found['features, worst frame'] <= found['features, cosine'] + 1e-6
    assert 0.9 < found['logits, cosine'] < 0.9999999
    assert 0 <= found['top-1 agreement'] <= 100


def test_a_bundle_agrees_with_itself_and_says_what_the_generation_loop_says(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    code, record = bench(
        tmp_path, bundles['float32'], '--against', bundles['float32'], runner=run_here
    )
    found = agreement(record)
    assert code == exit_codes.DONE
    assert found['top-1 agreement'] == found['text, tokens before they part'] == 100
    assert min(found['features, worst frame'], found['logits, worst step']) == pytest.approx(
        1, abs=1e-12
    )
    bundle = open_bundle(bundles['float32'])
    backend = OnnxBackend(bundle, ModelConfig(device='cpu', kv_slots=1, max_length=512, threads=1))
    backend.open()
    preprocessor = Preprocessor(bundle.shape, bundle.tokenizer, VisualConfig(max_visual_tokens=160))
    inputs = preprocessor.clip_inputs(stored_clip(), QUESTION)
    params = SamplingParams(6, (), GenerationConfig(max_repeats=0))
    output = GenerationOutput(Detokenizer(bundle.tokenizer.token_bytes))
    run_to_end(generate(Caches(backend), inputs, params, output, time.monotonic_ns))
    backend.close()
    assert tuple(record['sides'][0]['tokens']) == tuple(output.token_ids)
    facts = record['sides'][0]['facts']
    assert (facts['prompt_tokens'], facts['visual_tokens']) == (
        output.stats.prompt_tokens,
        output.stats.visual_tokens,
    )
    assert facts['patches'] == [len(frame.pixels) for frame in inputs.frames]


def test_a_damaged_target_is_named_and_the_other_one_is_measured(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(bundles['int8'], tmp_path / 'damaged')
    (damaged / 'decoder.onnx.data').write_bytes(b'x')
    code, record = bench(tmp_path, damaged, '--against', bundles['float32'], runner=run_here)
    assert code == exit_codes.FAILED
    first, second = record['sides']
    assert (
        first['error']['kind'] == 'BundleCorrupt'
        and 'penguin build' in first['error']['fix']
        and first['figures'] == []
    )
    assert second['error'] is None and second['figures']
    assert record['agreement'] == {
        'error': {
            'kind': 'PenguinError',
            'what': 'nothing to compare',
            'why': 'a target did not run',
            'fix': '',
        },
        'figures': [],
    }
    shown = capsys.readouterr().out
    assert 'damaged failed: BundleCorrupt' in shown and 'first token [ms]' in shown


def test_bundles_of_two_checkpoints_are_measured_but_not_compared(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    other = onnx_bundle(
        write_random_checkpoint(tmp_path / 'checkpoint', seed=5), tmp_path / 'other', 'float32'
    )
    code, record = bench(tmp_path, other, '--against', bundles['float32'], runner=run_here)
    assert code == exit_codes.FAILED
    assert all(target['error'] is None and target['figures'] for target in record['sides'])
    assert (
        record['agreement']['error']['kind'] == 'BundleMismatch'
        and record['agreement']['figures'] == []
    )


@pytest.mark.parametrize(
    ('words', 'kind', 'text'),
    [
        (['--position', '600'], 'SettingError', 'Give --position 508 at most'),
        (['--set', 'visual.max_visual_tokens=2000'], 'PromptTooLong', 'visual.max_visual_tokens'),
        (['--device', 'cuda'], 'BackendUnavailable', 'onnxruntime-gpu'),
    ],
)
def test_what_does_not_fit_is_said_with_the_way_out(
    bundles: dict[str, Path], tmp_path: Path, words: list[str], kind: str, text: str
) -> None:
    code, record = bench(tmp_path, bundles['float32'], *words, runner=run_here)
    assert code == exit_codes.UNUSABLE
    assert (
        record['sides'][0]['error']['kind'] == kind and text in record['sides'][0]['error']['fix']
    )


@pytest.mark.slow
def test_a_folder_that_is_no_bundle_and_a_bundle_against_its_own_runtime_are_refused(
    bundles: dict[str, Path], tmp_path: Path, tiny_checkpoint: Path
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    (tmp_path / 'empty').mkdir()
    for folder in (tmp_path / 'empty', tmp_path / 'absent'):
        code, record = bench(tmp_path, folder, runner=run_here)
        assert (code, record['sides'][0]['error']['kind']) == (
            exit_codes.UNUSABLE,
            'BundleNotFound',
        )
    code, record = bench(tmp_path, bundles['float32'], '--against', 'onnxruntime', runner=run_here)
    assert (
        code == exit_codes.FAILED and 'compared with itself' in record['sides'][1]['error']['why']
    )
    code, record = bench(tmp_path, tiny_checkpoint, '--against', 'onnxruntime', runner=run_here)
    assert code == exit_codes.FAILED and 'no graphs' in record['sides'][1]['error']['why']


@pytest.mark.slow
def test_a_checkpoint_on_torch_agrees_with_its_float32_bundle(
    bundles: dict[str, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    code, record = bench(
        tmp_path, bundles['float32'], '--against', tiny_checkpoint, '--precision', 'float32'
    )
    found = agreement(record)
    assert code == exit_codes.DONE and record['sides'][1]['facts']['name'] == 'torch'
    assert min(found['features, worst frame'], found['logits, worst step']) > 0.99999
    assert figures(record, 1)['weights read per token']['how'] == "the LLM's parameters in float32"


def test_a_process_that_is_killed_or_hangs_is_one_target_only(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = EngineTask(Target(str(bundles['float32'])), is_short=True)
    stopped = run_apart(task, limit_s=0.01)
    assert stopped.error is not None and stopped.error.kind == 'TimeoutExpired'
    script = tmp_path / 'python'
    script.write_text('#!/bin/sh\necho "the last words" >&2\nkill -9 $$\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(script))
    killed = run_apart(task)
    assert killed.error is not None and killed.error.kind == 'ProcessEnded'
    assert (
        'signal 9' in killed.error.why
        and 'the last words' in killed.error.why
        and 'memory' in killed.error.fix
    )


def test_a_target_that_fails_later_keeps_the_rounds_it_had_and_is_left_alone(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    calls: list[str] = []

    def runner(task: EngineTask) -> Round:
        calls.append(task.target.name)
        is_second = task.target.name == 'int8' and calls.count('int8') == 2
        return (
            Round(error=TargetError('BackendError', 'the second round'))
            if is_second
            else run_here(task)
        )

    code, record = bench(
        tmp_path, bundles['int8'], '--against', bundles['float32'], '--rounds', '3', runner=runner
    )
    assert code == exit_codes.FAILED and (calls.count('int8'), calls.count('float32')) == (2, 3)
    assert (
        len(figures(record)['decode']['rounds']) == 1
        and record['sides'][0]['error']['what'] == 'the second round'
    )
    assert agreement(record)['features, cosine'] > 0.99


def test_wrong_usage_is_said_before_anything_runs(
    bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, text in (
        (['--rounds', '0'], '--rounds 0'),
        (['--max-tokens', '1'], '--max-tokens 1'),
        (['--json', '/nowhere/record.json'], 'cannot be written'),
        (['--set', 'model.nonsense=1'], 'unknown setting'),
    ):
        assert main(['bench', 'engine', str(bundles['float32']), *words]) == exit_codes.UNUSABLE
        assert text in capsys.readouterr().err


def test_the_command_prints_a_table_and_writes_json(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'out.json'
    assert (
        main(['bench', 'engine', *SHORT, '--json', str(path), str(bundles['float32'])])
        == exit_codes.DONE
    )
    shown = capsys.readouterr().out
    assert (
        'float32: onnxruntime, cpu, float32' in shown
        and 'decode [tok/s]' in shown
        and 'how it was measured' in shown
    )
    assert json.loads(path.read_text())['agreement'] is None
