# SPDX-License-Identifier: Apache-2.0
"""`penguin bench rules` on a small real model. No speed is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed')

from penguin_ros.backends.base.backend import Branch, read_in_turn
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.benchmark.rules.tasks import RulesResult, RulesRound, RulesTask
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main

SHORT = ('--counts', '1', '3', '--clip-tokens', '60', '--rounds', '1', '--threads', '1')


def bench(folder: Path, *words: str | Path) -> tuple[int, dict[str, Any]]:
    record = folder / 'rules.json'
    code = main(['bench', 'rules', *map(str, words), *SHORT, '--json', str(record)])
    return code, json.loads(record.read_text()) if record.exists() else {}


def test_rules_are_measured_together_and_one_after_another_and_agree(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, record = bench(tmp_path, tiny_checkpoint)
    assert code == exit_codes.DONE
    (model,) = record['models']
    assert model['difference'] < 1e-4 and model['rounding'] < 1e-4 and model['prefix'] >= 60
    assert set(model['counts']) == {'1', '3'}
    measured = model['rounds'][0]
    whole = measured['encode'] + measured['prefill'] + measured['together']['3']
    assert model['counts']['3']['evaluation_s'] == pytest.approx(whole)
    assert 'of prefill' in capsys.readouterr().out


def test_branches_that_differ_from_each_asked_alone_are_a_failure(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: TorchBackend, slot: int, branches: list[Branch]) -> list[np.ndarray]:
        return [logits * 1.1 for logits in read_in_turn(self, slot, branches)]

    monkeypatch.setattr(TorchBackend, 'forward_branches', wrong)
    code, record = bench(tmp_path, tiny_checkpoint)
    assert code == exit_codes.FAILED
    assert record['models'][0]['difference'] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ('words', 'what'),
    [
        (('--suffix', '5'), '--suffix 5'),
        (('--clip-tokens', '100000'), 'a KV slot holds 4096'),
        (('--counts', '0'), '--counts 0'),
        (('--set', 'model.max_length=64', '--clip-tokens', '60'), 'a KV slot holds 64'),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    tiny_checkpoint: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = tmp_path / 'rules.json'
    code = main(['bench', 'rules', str(tiny_checkpoint), *SHORT, *words, '--json', str(record)])
    assert code == exit_codes.UNUSABLE and not record.exists()
    assert what in capsys.readouterr().err


def test_what_is_not_reached_is_said() -> None:
    measured = RulesRound(1.0, 1.0, {1: 0.1, 10: 3.0, 50: 2.0}, {1: 0.1, 10: 2.0, 50: 9.0})
    result = RulesResult('m', 'w', RulesTask((1, 10, 50)), 800, (measured,), 0.0, 0.0)
    assert result.missed() == [
        '10 rules take 2.38 times one, wanted 2',
        '10 rules take 1.50 times one after another',
    ]
