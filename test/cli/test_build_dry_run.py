# SPDX-License-Identifier: Apache-2.0
"""`penguin build --dry-run`: the plan of memory for each class of boards, without any weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.boards import memory, orin_nano

from penguin_ros.board_memory.board_classes import NOMINAL
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main


def dry_run(*words: str) -> int:
    return main(['build', *words, '--backend', 'tensorrt', '--dry-run'])


def spare(text: str) -> list[float]:
    """The gigabytes to spare of each plan that was printed."""
    return [float(found) for found in re.findall(r'to spare +([\d.]+) GB', text)]


@pytest.mark.parametrize('board', NOMINAL)
def test_the_defaults_of_the_2b_model_fit_every_board_with_a_gigabyte_to_spare(
    board: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert dry_run('tencent/Penguin-VL-2B', '--board', str(board)) == exit_codes.DONE
    shown = capsys.readouterr().out
    assert len(spare(shown)) == 3 and min(spare(shown)) >= 1.0
    assert f'running Penguin-VL-2B on a board of {board} GB' in shown
    assert list(tmp_path.iterdir()) == [], 'nothing is written'


@pytest.mark.parametrize('board', [board for board in NOMINAL if board >= 16])
def test_the_8b_model_fits_from_16_gb_on(board: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run('tencent/Penguin-VL-8B', '--board', str(board)) == exit_codes.DONE
    assert len(spare(capsys.readouterr().out)) == 3


def test_the_8b_model_is_refused_on_8_gb_with_the_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dry_run('8B', '--board', '8') == exit_codes.UNUSABLE
    printed = capsys.readouterr()
    error = ' '.join(printed.err.split())
    assert '8B on a board of 8 GB does not fit' in error and 'smaller model' in error
    assert re.search(r'[\d.]+ GB are needed \(decoder [\d.]+ GB.* GB are available', error)
    assert 'lacking' in printed.out, 'the table is shown too'


def test_sizes_that_would_fit_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ('2B', '--board', '8', '--max-patches', '4096', '--max-length', '16384')
    assert dry_run(*words) == exit_codes.UNUSABLE
    error = ' '.join(capsys.readouterr().err.split())
    assert 'This would fit: --max-patches' in error and '--max-length' in error


def test_without_a_board_each_class_has_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(tmp_path))
    assert dry_run('2B', '--precision', 'int4') == exit_codes.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(NOMINAL) and all('are available: fits' in line for line in lines[1:])


def test_a_bundle_is_planned_with_its_own_formats_and_length(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('onnx', reason='onnx is not installed')
    folder = tmp_path / 'b'
    words = ['--backend', 'tensorrt', '--graphs-only', '--max-length', '256', '--out', str(folder)]
    assert main(['build', str(tiny_checkpoint), *words]) == exit_codes.DONE
    assert dry_run(str(folder), '--board', '8') == exit_codes.DONE
    assert '2 of 256 positions' in capsys.readouterr().out


def test_this_board_is_taken_with_what_is_free_on_it_now(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = orin_nano(tmp_path)
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    assert dry_run('2B') == exit_codes.DONE
    assert 'available            7.27 GB' in capsys.readouterr().out
    memory(root, 7_802_000, 3_000_000)
    assert dry_run('2B') == exit_codes.UNUSABLE
    assert '3.07 GB are available' in capsys.readouterr().err


def test_other_backends_have_no_such_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['build', '2B', '--dry-run']) == exit_codes.UNUSABLE
    assert '--backend tensorrt' in capsys.readouterr().err


def kernels(*words: str) -> int:
    return main(['build', *words, '--backend', 'cuda', '--dry-run'])


def test_own_kernels_fit_the_2b_into_8_gb_and_int8_caches_take_half(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert kernels('2B', '--board', '8') == exit_codes.DONE
    usual = capsys.readouterr().out
    assert spare(usual)[0] >= 1.0 and '2 of 2048 positions, 16 bits' in usual
    assert kernels('2B', '--board', '8', '--kv', 'int8') == exit_codes.DONE
    narrow = capsys.readouterr().out
    slots = [float(re.search(r'KV slots +([\d.]+) GB', text)[1]) for text in (usual, narrow)]  # type: ignore[index]
    assert 0.45 < slots[1] / slots[0] < 0.6


def test_kernels_beside_engines_show_what_lies_there_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ('2B', '--board', '8', '--precision', 'int4', '--head', 'int4')
    shown = {}
    for decode in ('engines', 'kernels'):
        assert dry_run(*words, '--decode', decode) == exit_codes.DONE
        running, _, building = capsys.readouterr().out.partition('building the decoder')
        shown[decode] = running, building
    assert 'own kernels' not in shown['engines'][0]
    found = re.search(
        r'own kernels +([\d.]+) GB +weights of the LLM once more', shown['kernels'][0]
    )
    assert found is not None and 1.4 < float(found[1]) < 1.7
    assert shown['kernels'][1] == shown['engines'][1], 'an engine is built of its own weights'


def test_own_kernels_of_the_8b_are_refused_on_8_gb_and_all_boards_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert kernels('8B', '--board', '8') == exit_codes.UNUSABLE
    assert '--kv int8' in capsys.readouterr().err
    assert kernels('8B') == exit_codes.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith(': fits') for line in lines] == [False, True, True, True, True]
