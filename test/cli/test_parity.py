# SPDX-License-Identifier: Apache-2.0
"""`penguin parity` on the reference's values, on changed copies of them, and on a folder of other
sizes that is made here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main
from penguin_ros.evaluation import parity
from penguin_ros.testing.scripted_backend import answering

pytest.importorskip('torch', reason='torch is not installed')

Values = dict[str, np.ndarray]
ON_CPU = ('--backend', 'torch', '--device', 'cpu', '--set', 'model.threads=1')


def copied(
    golden: Path, folder: Path, name: str, change: Callable[[Values], Any] = lambda values: None
) -> Path:
    """Makes a golden folder with one changed case and the same checkpoint."""
    (folder / 'cases').mkdir(parents=True)
    (folder / 'checkpoint').symlink_to(golden / 'checkpoint')
    with np.load(golden / 'cases' / f'{name}.npz') as archive:
        values = dict(archive)
    change(values)
    np.savez(folder / 'cases' / f'{name}.npz', **values)
    return folder


def verdicts(golden: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Runs the verb; returns its exit code and the stages of the only case, by name."""
    record = golden / 'record.json'
    code = main(['parity', str(golden), *ON_CPU, '--json', str(record), *options])
    (stages,) = json.loads(record.read_text())['cases'].values()
    return code, {stage['stage']: stage for stage in stages}


def failed(stages: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, stage in stages.items() if stage['verdict'] in ('FAIL', 'not reached')}


def without(*keys: str) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        for key in keys:
            values.pop(key, None)

    return change


def test_every_case_of_the_reference_is_within_tolerance(
    golden_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / 'parity.json'
    assert main(['parity', str(golden_dir), *ON_CPU, '--json', str(record)]) == exit_codes.DONE
    written = json.loads(record.read_text())
    names = sorted(path.stem for path in (golden_dir / 'cases').glob('*.npz'))
    assert sorted(written['cases']) == names and written['is_passed'] is True
    given = [
        stage
        for stages in written['cases'].values()
        for stage in stages
        if stage['verdict'] == 'ok'
    ]
    assert all(stage['error'] <= stage['tolerance'] for stage in given)
    assert len(given) >= 11 * sum('video' in name for name in names)
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and printed.rstrip().endswith('OK')


@pytest.mark.parametrize('chunk', [1, 5])
def test_chunks_that_cut_through_a_picture_change_nothing(
    golden_dir: Path, tmp_path: Path, chunk: int
) -> None:
    golden = copied(golden_dir, tmp_path / 'golden', 'image_small')
    assert verdicts(golden, '--set', f'model.prefill_chunk={chunk}')[0] == exit_codes.DONE


def add(key: str, amount: float, place: tuple[int, ...] = (0,)) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        values[key] = values[key].copy()
        values[key][place] += np.asarray(amount, values[key].dtype)

    return change


def another_prompt(values: Values) -> None:
    values['prompt'] = np.array(str(values['prompt']).replace('Time 0.5s', 'Time 0.4s'))


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (another_prompt, {'prompt'}),
        (add('input_ids', 1, (0, 3)), {'token ids'}),
        (add('frame_types', 1), {'frame types'}),
        (add('grid_sizes', 2, (1, 2)), {'frame sizes'}),
        (add('pixel_values', 1e-4, (7, 9)), {'pixels'}),
        (add('vision_features', 0.01, (3, 3)), {'encoder'}),
        (add('projected', 0.01, (3, 3)), {'projector'}),
        (add('logits_argmax', 1, (17,)), {'prompt argmax'}),
        (add('logits_last', 0.01), {'last logits'}),
        (add('step_logits', 0.01, (5, 5)), {'step logits'}),
        (add('generated', 1, (23,)), {'step tokens', 'generation'}),
    ],
)
def test_a_value_that_is_off_fails_its_own_stage_and_no_other(
    golden_dir: Path, tmp_path: Path, change: Callable[[Values], None], expected: set[str]
) -> None:
    def strict(values: Values) -> None:
        values['generated_margins'] = np.ones_like(
            values['generated_margins']
        )  # so that the last token is judged
        change(values)

    code, stages = verdicts(copied(golden_dir, tmp_path / 'golden', 'video_still', strict))
    assert failed(stages) == expected
    assert code == exit_codes.FAILED


def test_a_wrong_token_in_the_middle_shows_in_the_logits_of_the_next_step(
    golden_dir: Path, tmp_path: Path
) -> None:
    _, stages = verdicts(
        copied(golden_dir, tmp_path / 'golden', 'text', add('generated', 1, (11,)))
    )
    assert 'worst of 24 steps: 1' in stages['step logits']['note']
    assert 'step logits' in failed(stages) and 'last logits' not in failed(stages)


def test_tokens_after_a_near_tie_are_not_judged_but_their_logits_are(
    golden_dir: Path, tmp_path: Path
) -> None:
    def near_tie(values: Values) -> None:
        values['generated_margins'][4] = 5e-4
        values['generated'][-1] += 1

    code, stages = verdicts(copied(golden_dir, tmp_path / 'golden', 'text', near_tie))
    assert code == exit_codes.DONE
    assert 'judged up to step 4' in stages['generation']['note']
    assert 'worst of 24 steps' in stages['step logits']['note']


@pytest.mark.parametrize(
    'key',
    ['frame_types', 'pixel_values', 'vision_features', 'projected', 'logits_argmax', 'logits_last'],
)
def test_an_absent_key_is_called_not_given_and_the_rest_is_compared(
    golden_dir: Path, tmp_path: Path, key: str
) -> None:
    code, stages = verdicts(copied(golden_dir, tmp_path / 'golden', 'video_still', without(key)))
    assert code == exit_codes.DONE
    assert [stage['verdict'] for stage in stages.values()].count('not given') == 1


@pytest.mark.parametrize(
    ('keys', 'not_given'),
    [
        (('prompt',), {'prompt', 'token ids'}),
        (('prompt', 'frames'), {'prompt', 'token ids', 'frame types', 'frame sizes', 'pixels'}),
        (('frames', 'timestamps'), {'frame types', 'frame sizes', 'pixels'}),
        (('timestamps', 'merge_size', 'merge_sizes'), set()),
        (('grid_sizes',), set()),
        (('generated_margins',), set()),
        (('generated_margins', 'step_logits'), {'step logits', 'perplexity'}),
        (('generated', 'generated_margins'), set()),
        (('generated', 'step_logits'), {'step logits', 'step tokens', 'perplexity', 'generation'}),
        (('input_ids', 'logits_argmax'), {'token ids', 'prompt argmax'}),
    ],
)
def test_what_a_case_lacks_is_taken_from_what_it_has(
    golden_dir: Path, tmp_path: Path, keys: tuple[str, ...], not_given: set[str]
) -> None:
    code, stages = verdicts(copied(golden_dir, tmp_path / 'golden', 'video_still', without(*keys)))
    assert code == exit_codes.DONE, stages
    assert {name for name, stage in stages.items() if stage['verdict'] == 'not given'} == not_given


def test_a_prompt_with_more_pictures_than_are_given_fails_by_name_and_the_rest_is_not_reached(
    golden_dir: Path, tmp_path: Path
) -> None:
    def change(values: Values) -> None:
        values['prompt'] = np.array(
            str(values['prompt']).replace('<image>\n', '<image>\n<image>\n')
        )

    code, stages = verdicts(copied(golden_dir, tmp_path / 'golden', 'image_small', change))
    assert code == exit_codes.FAILED
    assert stages['prompt']['verdict'] == 'FAIL' and 'image tokens' in stages['prompt']['note']
    assert stages['generation']['verdict'] == 'not reached'


def test_a_case_with_neither_pictures_nor_patches_says_so(golden_dir: Path, tmp_path: Path) -> None:
    code, stages = verdicts(
        copied(golden_dir, tmp_path / 'golden', 'image_small', without('image', 'pixel_values'))
    )
    assert code == exit_codes.FAILED
    assert 'neither image nor frames' in stages['prompt']['note']


def test_coarser_precisions_are_reported_under_looser_bounds(
    golden_dir: Path, tmp_path: Path
) -> None:
    code, stages = verdicts(
        copied(golden_dir, tmp_path / 'golden', 'image_small'), '--precision', 'bfloat16'
    )
    assert code == exit_codes.DONE
    assert 1e-4 < stages['encoder']['error'] <= stages['encoder']['tolerance'] == 5e-2


@pytest.mark.parametrize('name', ['text', 'image_small', 'video_floor'])
def test_onnxruntime_on_a_bundle_built_for_the_occasion_is_within_tolerance(
    golden_dir: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    code, stages = verdicts(
        copied(golden_dir, tmp_path / 'golden', name), '--backend', 'onnxruntime'
    )
    assert code == exit_codes.DONE and not failed(stages), stages
    assert stages['step logits']['tolerance'] == 1e-4 and abs(stages['perplexity']['error']) < 1e-5


@pytest.mark.parametrize('precision', ['int8', 'int4'])
def test_what_int8_and_int4_cost_is_reported_and_does_not_fail(
    golden_dir: Path, tmp_path: Path, precision: str
) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    golden = copied(golden_dir, tmp_path / 'golden', 'image_small')
    code, stages = verdicts(golden, '--backend', 'onnxruntime', '--precision', precision)
    assert code == exit_codes.DONE
    network = [
        stages[name]
        for name in (
            'encoder',
            'projector',
            'prompt argmax',
            'last logits',
            'step logits',
            'step tokens',
            'perplexity',
            'generation',
        )
    ]
    assert {stage['verdict'] for stage in network} == {'reported'}
    assert (
        re.match(r'cosine 0\.9\d+', stages['encoder']['note'])
        and 1e-4 < stages['encoder']['error'] < 0.3
    )
    assert re.match(r'top-1 agreement 0\.\d+: \d+ of \d+', stages['prompt argmax']['note'])
    assert 0 < abs(stages['perplexity']['error']) < 1
    assert stages['pixels']['verdict'] == stages['token ids']['verdict'] == 'ok'


def test_a_bundle_can_be_named_instead_of_built(golden_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from penguin_ros.checkpoint.checkpoint import open_checkpoint
    from penguin_ros.export.build import BuildOrder, build_bundle

    bundle = build_bundle(
        open_checkpoint(golden_dir / 'checkpoint'), tmp_path / 'bundle', BuildOrder(max_length=512)
    )
    golden = copied(golden_dir, tmp_path / 'golden', 'text')
    assert verdicts(golden, '--bundle', str(bundle), '--backend', 'auto')[0] == exit_codes.DONE


def test_another_backend_than_the_reference_fails(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = copied(golden_dir, tmp_path / 'golden', 'image_small')
    monkeypatch.setattr(parity, 'make_backend', answering())
    code, stages = verdicts(golden)
    assert code == exit_codes.FAILED
    assert failed(stages) >= {
        'encoder',
        'projector',
        'prompt argmax',
        'last logits',
        'step logits',
        'step tokens',
        'generation',
    }
    assert 'pixels' not in failed(stages)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--case', 'nonsense'], 'there is no case nonsense'),
        (['--set', 'model.nonsense=1'], 'unknown setting'),
        (['--json', '/nowhere/record.json'], 'cannot be written'),
    ],
)
def test_wrong_usage_is_said_in_words(
    golden_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    golden = copied(golden_dir, tmp_path / 'golden', 'text')
    assert main(['parity', str(golden), *options]) == exit_codes.UNUSABLE
    assert message in capsys.readouterr().err


def test_a_folder_without_golden_values_is_said_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['parity', str(tmp_path)]) == exit_codes.UNUSABLE
    assert 'holds no golden values' in capsys.readouterr().err
