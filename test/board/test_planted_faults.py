# SPDX-License-Identifier: Apache-2.0
"""The whole command on a fake machine: nothing is found on a good one, and each thing planted in a
bad one is found and named.
"""

from __future__ import annotations

import getpass
import io
import json
import re
import socket
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.boards import write
from support.planted_boards import GPU, bench, board

from penguin_ros.backends.onnxruntime.library import OLDEST_IN_PLACE, version_of
from penguin_ros.board.report import MAX_LINES


def topics(verdicts: list[dict[str, str]]) -> list[str]:
    return [verdict['topic'] for verdict in verdicts]


@pytest.fixture(autouse=True)
def planted_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = board(tmp_path / 'root')
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    return root


@dataclass(frozen=True)
class Run:
    """All steps on a board with nothing wrong."""

    folder: Path
    code: int
    report: dict[str, Any]
    states: dict[str, list[dict[str, str]]]
    shown: str


@pytest.fixture(scope='module')
def good(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of all steps, each a process, for all tests that plant nothing; of the first ones where
    ONNX Runtime, which stands in for TensorRT, is too old for the others.
    """
    words = () if runs_in_place() else ('--steps', 'identity,cuda,memory,tensorrt,products')
    folder, shown = tmp_path_factory.mktemp('good'), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(shown):
        patch.setenv('PENGUIN_SYSTEM_ROOT', str(board(folder / 'root')))
        return Run(folder, *bench(folder, *words), shown.getvalue())


def runs_in_place() -> bool:
    """Whether ONNX Runtime writes to a cache in place."""
    onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    return bool(version_of(onnxruntime) >= OLDEST_IN_PLACE)


def test_a_good_board_has_no_fault_and_gets_a_choice(good: Run) -> None:
    if not runs_in_place():
        pytest.skip('onnxruntime is too old for the graph of a decoder layer')
    assert good.code == 0 and not good.states['fault']
    assert not any('formats' in verdict['topic'] for verdict in good.states['note'])
    chosen = good.report['profile']
    assert (chosen['precision'], chosen['head']) == ('int4', 'int4')
    assert (chosen['variant'], chosen['max_patches']) == ('window', 256)
    assert chosen['forms']['decoder'][0] == 'decoder: window'
    assert 'Orin Nano' in good.shown and 'choice: --precision int4 --head int4' in good.shown
    assert len(good.report['text']) <= MAX_LINES


def test_the_page_cache_of_a_good_board_gives_way(good: Run) -> None:
    (found,) = [verdict for verdict in good.states['ok'] if verdict['topic'] == 'page cache']
    assert 'gives way: largest block' in found['text']


def test_the_file_names_no_host_no_user_and_no_folder(good: Run) -> None:
    text = json.dumps(good.report)
    assert str(good.folder) not in text
    for word in (socket.gethostname(), getpass.getuser()):
        assert not re.search(rf'(?<!\w){re.escape(word)}(?!\w)', text)
    assert not re.search(r'(?<![\w.])/\w+', text)


@pytest.mark.slow
def test_an_older_tensorrt_gets_the_forms_that_it_can_build(tmp_path: Path) -> None:
    steps = 'identity,cuda,memory,tensorrt,products,decoder_layer,encoder_layer'
    code, report, _ = bench(tmp_path, '--steps', steps, version='10.3.0')
    chosen = report['profile']
    assert code == 0 and (chosen['variant'], chosen['softmax']) == ('two_part', 'plain_half')
    assert chosen['forms']['vision'] == ['vision: plain_half', 'vision: plain']


@pytest.mark.slow
def test_an_int8_head_that_is_unpacked_is_named_by_time_and_by_size(tmp_path: Path) -> None:
    code, report, states = bench(
        tmp_path, '--steps', 'identity,cuda,memory,tensorrt,products', unpacked=['int8']
    )
    (found,) = [verdict for verdict in states['note'] if verdict['topic'] == 'head int8']
    assert found['text'].startswith('unpacked in each step: 4.9 times the time')
    assert 'engine 3.0 times its weights, 1 layers give out a whole weight' in found['text']
    assert 'int4' in found['fix'] and report['profile']['head'] == 'int4' and code == 0


def test_int4_that_is_unpacked_is_a_fault_and_another_format_is_chosen(tmp_path: Path) -> None:
    code, report, states = bench(
        tmp_path, '--steps', 'identity,cuda,memory,tensorrt,products', unpacked=['int4', 'int8']
    )
    assert {'layer int4', 'head int4'} <= set(topics(states['fault'])) and code == 1
    assert (report['profile']['precision'], report['profile']['head']) == ('float16', 'float16')


@pytest.mark.parametrize(
    ('page_cache', 'state', 'words'),
    [
        ({'gives_way': False}, 'note', 'gives way only when it is dropped'),
        ({'gives_way': False, 'is_stuck': True}, 'fault', 'even when it is dropped'),
    ],
)
def test_a_page_cache_that_does_not_give_way_is_found(
    page_cache: dict[str, bool], state: str, words: str, tmp_path: Path
) -> None:
    _, _, states = bench(
        tmp_path,
        '--steps',
        'identity,cuda,memory',
        page_cache=page_cache,
        total_bytes=1 << 26,
    )
    (found,) = [verdict for verdict in states[state] if verdict['topic'] == 'page cache']
    assert words in found['text']


def test_a_driver_that_is_too_old_is_named_with_the_command_and_the_rest_is_skipped(
    tmp_path: Path,
) -> None:
    code, report, states = bench(tmp_path, driver=12060, runtime=13050)
    assert {'cuda'} == set(topics(states['fault']))
    assert any('"cuda-bindings==12.9.*"' in verdict['fix'] for verdict in states['fault'])
    steps = {step['name']: step for step in report['steps']}
    assert steps['cuda']['state'] == 'failed' and steps['memory']['why'] == 'cuda failed'
    assert steps['products']['why'] == 'tensorrt was skipped'
    assert code == 2  # nothing could be measured


def test_a_throttled_board_is_found(planted_root: Path, tmp_path: Path) -> None:
    write(planted_root, 'sys/class/hwmon/hwmon3/oc3_event_cnt', '27390')
    write(planted_root, f'{GPU}/max_freq', '612000000')
    code, _, states = bench(tmp_path, '--steps', 'identity,cuda')
    (found,) = states['fault']
    assert found['topic'] == 'throttled' and code == 1
    assert 'oc3: 27390' in found['text'] and 'GPU at 612 of 1020 MHz' in found['text']


def test_a_tight_release_a_low_mode_and_a_desktop_are_worth_a_note(
    planted_root: Path, tmp_path: Path
) -> None:
    write(planted_root, 'etc/nv_tegra_release', '# R36 (release), REVISION: 4.7, GCID: 1')
    write(planted_root, 'var/lib/nvpmodel/status', 'pmode:0001')
    write(planted_root, 'tmp/.X11-unix/X0', '')
    _, _, states = bench(tmp_path, '--steps', 'identity,cuda')
    notes = {verdict['topic']: verdict for verdict in states['note']}
    assert {'jetson linux', 'power mode', 'cma', 'desktop'} <= set(notes)
    assert 'nvpmodel -m 2' in notes['power mode']['fix'] and '36.5' in notes['jetson linux']['fix']


def test_a_machine_without_gpu_and_tensorrt_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from penguin_ros.cli import bench_board
    from penguin_ros.cli.main import main

    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', '/')
    code = main(['bench', 'board', '--report', str(tmp_path / 'board.json')])
    if (tmp_path / 'board.json').exists():
        pytest.skip('this machine has a GPU or TensorRT')
    said = capsys.readouterr().err
    assert code == 2 and 'nothing can be measured here' in said
    assert 'libcuda.so.1' in said and 'importing tensorrt failed' in said
    assert bench_board.FIRST == ('identity',)


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    from penguin_ros.errors import SettingError

    with pytest.raises(SettingError, match='there are identity, cuda'):
        bench(tmp_path, '--steps', 'colour')
