# SPDX-License-Identifier: Apache-2.0
"""`penguin bench live` on a tiny random checkpoint: every case runs, both variants are really
compared, and a wrong one is seen. No speed is judged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.backends.base.backend import Features
from penguin_ros.benchmark.live import models
from penguin_ros.benchmark.live.interrupt import same_tokens
from penguin_ros.benchmark.live.parts import run_apart, run_here
from penguin_ros.benchmark.live.probe import Choice
from penguin_ros.benchmark.live.tasks import (
    CASES,
    JsonObject,
    LiveRunner,
    LiveTask,
    task_from,
)
from penguin_ros.benchmark.tasks import Target
from penguin_ros.cli import bench_live, exit_codes
from penguin_ros.cli.main import main, parser
from penguin_ros.evaluation.agreement import DIFFERENT, SAME
from penguin_ros.generation import prefix_cache
from penguin_ros.generation.encoder_cache import EncoderCache
from penguin_ros.generation.kv_slot import PrefixKeys, shared_prefix_length

SHORT = ('--quick', '--size', '168x112', '--threads', '1', '--no-default', '--tokens', '6')
FRAMES = 8


def live(folder: Path, *words: str | Path, runner: LiveRunner = run_here) -> tuple[int, JsonObject]:
    """Runs the verb; returns its exit code and record. Later words win over those of SHORT."""
    path = folder / 'record.json'
    arguments = parser('bench').parse_args(
        ['bench', 'live', *SHORT, '--json', str(path), *map(str, words)]
    )
    return bench_live.run(arguments, runner), json.loads(path.read_text())


def cases(record: JsonObject) -> dict[str, Any]:
    return {case['name']: case for case in record['models'][0]['cases']}


@pytest.fixture(scope='module')
def measured(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> JsonObject:
    """The record of all cases."""
    code, record = live(tmp_path_factory.mktemp('record'), tiny_checkpoint)
    assert code == exit_codes.DONE, record
    return record


def test_all_cases_are_there_in_both_variants_and_agree(measured: JsonObject) -> None:
    assert measured['format'] == 1 and 'load' in measured['machine'] and measured['node'] is None
    assert list(cases(measured)) == [
        'cold clip',
        'second question',
        'tenth question',
        *(f'append {count} to {FRAMES - count}' for count in range(1, 8)),
        'cold clip, 8 equal frames',
        'slide by 1 of 8',
    ]
    for case in cases(measured).values():
        assert (
            case['agreement']['verdict'] == SAME
            and case['agreement']['tokens'] == case['agreement']['steps'] == 6
        )
        for target in (case['reuse'], case['recompute']):
            assert target['frames'] == FRAMES and target['tokens'] == target['passes'] == 6
            assert target['first_token_s'] == pytest.approx(
                target['prepare_s'] + target['encode_s'] + target['prefill_s']
            )
        assert case['recompute']['reused_tokens'] == case['recompute']['reused_frames'] == 0
    assert measured['models'][0]['is_same'] and measured['models'][0]['rounds'] == 1


def test_what_was_known_is_not_computed_again(measured: JsonObject) -> None:
    found = cases(measured)
    for name in ('cold clip', 'cold clip, 8 equal frames'):
        assert found[name]['reuse']['reused_tokens'] == found[name]['reuse']['reused_frames'] == 0
    for name in ('second question', 'tenth question'):
        assert found[name]['reuse']['reused_frames'] == FRAMES
        assert found[name]['reuse']['reused_tokens'] > found[name]['reuse']['visual_tokens']
    for count in range(1, 8):
        target = found[f'append {count} to {FRAMES - count}']['reuse']
        assert target['reused_frames'] == FRAMES - count
        assert target['reused_tokens'] > target['visual_tokens'] * (FRAMES - count) / FRAMES
    assert found['slide by 1 of 8']['reuse']['reused_frames'] == FRAMES - 1
    memory = measured['models'][0]['memory']
    assert (
        memory['kv_slots'] == 4
        and 0 < memory['kv_bytes'] < memory['kv_slots'] * memory['slot_bytes']
    )
    assert memory['features'] >= FRAMES and memory['feature_bytes'] > 0


def test_captions_of_both_scenes_are_made_in_both_variants(measured: JsonObject) -> None:
    made = {(each['scene'], each['course']): each for each in measured['models'][0]['captions']}
    assert set(made) == {
        (scene, variant) for scene in ('static', 'changing') for variant in ('recompute', 'reuse')
    }
    for each in made.values():
        assert (each['seconds'], each['made'], each['tokens']) == (3, 3, 6)
    for scene in ('static', 'changing'):
        assert (
            made[scene, 'reuse']['agreement']['verdict'] == SAME
            and made[scene, 'recompute']['agreement'] is None
        )
        assert (
            made[scene, 'reuse']['reused_frames'] > 0 == made[scene, 'recompute']['reused_frames']
        )


def test_the_question_is_asked_within_the_caption_and_answered_alike(measured: JsonObject) -> None:
    phases = measured['models'][0]['interrupt']
    assert [phase['name'] for phase in phases] == [
        'while it decodes',
        'while it encodes a new frame',
    ]
    for phase in phases:
        assert phase['asked'] == len(phase['rounds']) == 1 and phase['same'] == {
            'tokens': 8,
            'of': 8,
            'margin': None,
        }
        assert min(phase['idle_s'], phase['busy_s'], phase['step_s']) > 0


def test_an_answer_is_found_among_the_texts_that_were_made_meanwhile() -> None:
    caption, ours = (
        [Choice(1, token_id, 1.0) for token_id in (5, 6, 7, 8)],
        [Choice(2, token_id, 1.0) for token_id in (5, 3, 4)],
    )
    alone = [Choice(9, 5, 0.5), Choice(9, 3, 0.25), Choice(9, 2, 0.125)]
    assert same_tokens([*caption[:2], *ours, *caption[2:]], alone) == {
        'tokens': 2,
        'of': 3,
        'margin': 0.125,
    }
    assert (
        same_tokens(ours, ours) == {'tokens': 3, 'of': 3, 'margin': None}
        and same_tokens([], ours)['tokens'] == 0
    )


def test_ratios_say_what_they_are_of(measured: JsonObject) -> None:
    found, by_name = (
        cases(measured),
        {ratio['name']: ratio for ratio in measured['models'][0]['ratios']},
    )
    assert [(name, ratio['wanted']) for name, ratio in by_name.items()] == [
        ('next caption after one new frame', 0.12),
        ('encode after a slide by 1 of 8', 0.15),
        ('first token of the second question', 0.025),
        ('question during a caption, while it decodes', 1.0),
        ('question during a caption, while it encodes a new frame', 1.0),
    ]
    assert by_name['first token of the second question']['value'] == pytest.approx(
        found['second question']['reuse']['first_token_s']
        / found['cold clip']['recompute']['first_token_s']
    )
    assert all(ratio['how'] for ratio in by_name.values())


@pytest.mark.slow
def test_drafts_are_measured_on_texts_that_end_by_themselves_and_at_the_costs_of_the_others(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(models, 'shipped_model', lambda: tiny_checkpoint)
    for name in ('DEFAULT_MODEL_SIZE', 'OTHER_SIZE'):
        monkeypatch.setattr(models, name, (112, 84))
    path = tmp_path / 'record.json'
    words = f'bench live {tiny_checkpoint} --quick --tokens 6 --cases clip captions --threads 1'
    options = ['--set', 'caption.max_tokens=40', '--json', str(path)]
    assert (
        bench_live.run(parser('bench').parse_args([*words.split(), *options]), run_here)
        == exit_codes.DONE
    )
    first, second = json.loads(path.read_text())['models']
    assert first['is_default'] and not second['is_default']
    made = {(each['scene'], each['course']): each for each in first['captions']}
    assert ('static', 'reuse, drafts, gate') in made and len(second['captions']) == 4
    drafted = made['static', 'reuse, drafts']
    assert (
        drafted['agreement']['verdict'] == SAME
        and drafted['drafted'] > 0 == made['static', 'reuse']['drafted']
    )
    assert (
        made['static', 'reuse, drafts, gate']['made']
        < made['static', 'reuse, drafts, gate']['seconds']
    )
    names = [ratio['name'] for ratio in second['ratios']]
    assert (
        'decode with drafts at its costs, static scene' in names
        and 'decode with drafts, static scene' not in names
    )
    assert sorted(map(int, second['pass_s'])) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert 'texts of tiny' in ' '.join(capsys.readouterr().out.split())


def test_features_of_a_wrong_frame_are_seen(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = EncoderCache.get

    def wrong(self: EncoderCache, key: bytes) -> Features | None:
        found = right(self, key)
        others = [
            each
            for each in self._kept.values()
            if found is not None and each.tokens == found.tokens and each is not found
        ]
        return others[0] if others else found

    monkeypatch.setattr(EncoderCache, 'get', wrong)
    code, record = live(tmp_path, tiny_checkpoint, '--cases', 'slide')
    assert code == exit_codes.FAILED and not record['models'][0]['is_same']
    found = cases(record)['slide by 1 of 8']['agreement']
    assert found['verdict'] == DIFFERENT and found['logit_difference'] > 1e-3
    assert 'DIFFERENT' in capsys.readouterr().out


def test_keys_and_values_of_a_wrong_frame_are_seen(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tokens_alone(first: PrefixKeys, second: PrefixKeys) -> int:
        """Compares as if all frames were equal."""
        return shared_prefix_length(
            np.where(first[:, 2:] >= 0, 0, first), np.where(second[:, 2:] >= 0, 0, second)
        )

    monkeypatch.setattr(prefix_cache, 'shared_prefix_length', tokens_alone)
    monkeypatch.setattr('penguin_ros.generation.kv_slot.shared_prefix_length', tokens_alone)
    code, record = live(tmp_path, tiny_checkpoint, '--cases', 'clip')
    assert code == exit_codes.FAILED
    verdicts = {name: case['agreement']['verdict'] for name, case in cases(record).items()}
    assert verdicts['second question'] == SAME and verdicts['append 7 to 1'] == DIFFERENT


def test_a_model_that_cannot_be_opened_is_named_and_the_others_are_measured(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, record = live(tmp_path, tmp_path / 'absent', tiny_checkpoint, '--cases', 'slide')
    assert code == exit_codes.FAILED
    first, second = record['models']
    assert first['error']['kind'] == 'BundleNotFound' and 'cases' not in first
    assert second['error'] is None and second['cases']
    assert 'BundleNotFound' in capsys.readouterr().out
    assert live(tmp_path, tmp_path / 'absent', '--cases', 'slide')[0] == exit_codes.UNUSABLE


def test_a_part_travels_to_its_process_and_back(tiny_checkpoint: Path) -> None:
    task = LiveTask(
        Target(str(tiny_checkpoint), '', {'model.threads': 1}), ('slide',), 1, 3, 112, 84, 1, ''
    )
    assert task_from(json.loads(json.dumps(asdict(task)))) == task
    record = run_apart(task)
    assert (
        record['error'] is None
        and [case['agreement']['verdict'] for case in record['cases']] == [SAME] * 2
    )
    assert (
        run_apart(replace(task, target=Target('/nowhere/bundle')))['error']['kind']
        == 'BundleNotFound'
    )


def test_the_picture_shows_the_clip_growing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='matplotlib is not installed')
    plot = tmp_path / 'live.svg'
    code, record = live(tmp_path, tiny_checkpoint, '--plot', plot)
    growth = record['models'][0]['growth']
    assert code == exit_codes.DONE and record['models'][0]['cases'] == []
    assert growth['frames'] == list(range(1, 33)) and len(growth['reuse_s']) == 32
    assert (
        growth['recomputed'] == [2, 4, 8, 12, 16, 20, 24, 28, 32] and min(growth['recompute_s']) > 0
    )
    assert '<svg' in plot.read_text()


def test_wrong_usage_is_said_before_anything_runs(
    tmp_path: Path,
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, text in (
        (['--rounds', '-1'], '--rounds -1'),
        (['--tokens', '1'], '--tokens 1'),
        (['--size', '640'], '--size 640'),
        (['--json', '/nowhere/record.json'], 'cannot be written'),
        (['--video', '/nowhere.mp4'], 'no such file'),
        (['--plot', 'live.txt'], 'its ending'),
        (['--plot', '/nowhere/live.svg'], 'no folder'),
        (['--node-seconds', '1'], '--node-seconds'),
        (['--set', 'model.nonsense=1'], 'unknown setting'),
    ):
        assert main(['bench', 'live', str(tiny_checkpoint), *words]) == exit_codes.UNUSABLE
        assert text in capsys.readouterr().err
    monkeypatch.setattr(models, 'shipped_model', lambda: None)
    assert main(['bench', 'live']) == exit_codes.UNUSABLE
    assert 'Name a bundle or a checkpoint' in capsys.readouterr().err


def test_the_help_names_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['bench', 'live', '--help'])
    shown = capsys.readouterr().out
    assert all(name in shown for name in CASES) and '--node' in shown
