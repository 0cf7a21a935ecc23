# SPDX-License-Identifier: Apache-2.0
"""`penguin recall` and `penguin memory` find, show, export, check and forget what a store holds."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.memory_entries import caption, filled

from penguin_ros.cli.main import main
from penguin_ros.memory.entry import Pose
from penguin_ros.memory.store import Store

START = 1_780_000_000


def jpeg(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((60, 90, 3), shade, np.uint8)).save(stream, 'JPEG')
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a caption a minute for five hours; a red box is seen every 20 minutes."""
    with Store.open(tmp_path / 'memory') as store:
        filled(
            store,
            [
                caption(
                    START + 60 * minute,
                    f'There is a {"red box" if minute % 20 == 0 else "blue ball"}.',
                    pose=Pose('map', minute / 10, 2.0),
                    picture=jpeg(minute % 250) if minute % 20 == 0 else b'',
                    picture_ns=(START + 60 * minute) * 10**9,
                )
                for minute in range(300)
            ],
        )
    return tmp_path / 'memory'


def recalled(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, object]]:
    main(['recall', *map(str, words), '--json'])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_recall_finds_by_words_time_and_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(recalled(capsys, 'red box', '--store', folder, '--limit', 99)) == 15
    late = recalled(capsys, 'red box', '--last', '1h', '--newest', '--store', folder)
    assert [int(hit['start_ns']) // 10**9 - START for hit in late] == [
        60 * m for m in (280, 260, 240)
    ]
    near = recalled(capsys, 'red box', '--near', '14,2', '--radius', 1.5, '--store', folder)
    assert [hit['pose']['x'] for hit in near] == [14.0]
    assert near[0]['matches'] == ['words', 'place']
    assert main(['recall', 'unicorn', '--store', str(folder)]) == 1
    assert main(['recall', 'red box', '--store', str(folder), '--last', '20min']) == 0
    assert 'at 28.0, 2.0 in map' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (['--near', '1,2', '--frame', 'odom'], 'odom'),
        (['--camera', 'bcak'], 'stored has: front'),
        (['-box'], ''),
        (['--last', 'soon'], 'no length of time'),
        (['--from', 'yesterday'], 'no time'),
        (['--last', '1h', '--to', '2026-01-01'], 'each of them says when'),
        (['---'], ''),
        (['box', '--limit', '0'], 'limit'),
    ],
)
def test_what_makes_no_sense_is_refused_with_code_2(
    folder: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(['recall', *words, '--store', str(folder)])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2 and why in capsys.readouterr().err


def test_a_sheet_shows_the_pictures_that_were_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'found.png'
    assert main(['recall', 'red box', '--store', str(folder), '--sheet', str(path)]) == 0
    assert '12 pictures' in capsys.readouterr().err
    shown = np.asarray(Image.open(path).convert('RGB'))
    assert (shown == 240).all(axis=2).sum() > 1000


def test_stats_check_and_export_tell_what_is_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['memory', 'stats', '--store', str(folder)]) == 0
    assert 'captions          300' in capsys.readouterr().out
    assert main(['memory', 'check', '--store', str(folder)]) == 0
    target = tmp_path / 'out'
    words = ['memory', 'export', '--store', str(folder), '--to-folder', str(target)]
    assert main([*words, '--last', '2h']) == 0
    lines = [json.loads(line) for line in (target / 'entries.jsonl').read_text().splitlines()]
    pictures = [line['picture'] for line in lines if line.get('picture')]
    assert len(lines) == 121 and len(pictures) == 6
    assert all((target / name).read_bytes().startswith(b'\xff\xd8') for name in pictures)
    assert stat.S_IMODE((target / pictures[0]).stat().st_mode) == 0o600
    assert main([*words, '--last', '2h']) == 2
    assert 'Name another folder' in capsys.readouterr().err


def test_forgetting_asks_first_and_removes_an_interval(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ['--store', str(folder)]
    assert main(['memory', 'forget', *store, '--yes']) == 2
    assert main(['memory', 'forget', *store, '--last', '1h']) == 2
    assert '--yes' in capsys.readouterr().err
    assert main(['memory', 'forget', *store, '--last', '1h', '--yes']) == 0
    assert 'forgotten: 61 entries, 3 pictures' in capsys.readouterr().out
    assert len(recalled(capsys, 'red box', '--store', folder, '--limit', 99)) == 12
    with Store.open(folder):
        assert main(['memory', 'forget', *store, '--all', '--yes']) == 2
        assert 'in use' in capsys.readouterr().err
