# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, whatever was there before."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros import atomic_folder as module
from penguin_ros.atomic_folder import atomic_folder, entries
from penguin_ros.backends.base.manifest import MANIFEST


def bundle(folder: Path, text: str = 'old') -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text)
    return folder


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / 'deep' / 'b') as staging:
        (staging / MANIFEST).write_text('new')
        assert not (tmp_path / 'deep' / 'b').exists()
    assert (tmp_path / 'deep' / 'b' / MANIFEST).read_text() == 'new'
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['b']


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError, SystemExit])
def test_nothing_is_left_when_the_block_fails_and_the_old_bundle_stays(
    tmp_path: Path, error: type[BaseException]
) -> None:
    bundle(tmp_path / 'b')
    with pytest.raises(error), atomic_folder(tmp_path / 'b') as staging:
        (staging / MANIFEST).write_text('new')
        raise error
    assert (tmp_path / 'b' / MANIFEST).read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['b']


def test_an_old_bundle_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (bundle(tmp_path / 'b') / 'stale.engine').touch()
    with atomic_folder(tmp_path / 'b') as staging:
        (staging / MANIFEST).write_text('new')
    assert [path.name for path in (tmp_path / 'b').iterdir()] == [MANIFEST]
    assert [path.name for path in tmp_path.iterdir()] == ['b']


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / 'b').mkdir()
    with atomic_folder(tmp_path / 'b') as staging:
        (staging / MANIFEST).write_text('new')
    assert (tmp_path / 'b' / MANIFEST).read_text() == 'new'


def held(folder: Path) -> int:
    """Locks a folder as whoever fills it does."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@pytest.mark.parametrize(
    'number',
    [str(os.getpid()), '1', 'kz4_x2', str(2**22 + 1)],
    ids=['of this process', 'of the first', 'no number', 'none has'],
)
def test_what_killed_builds_left_goes_whichever_number_they_had(
    tmp_path: Path, number: str
) -> None:
    for name in (f'.b.build-{number}', f'.other.build-{number}', '.b.notes-7'):
        (tmp_path / name).mkdir()
    with atomic_folder(tmp_path / 'b'):
        pass
    assert set(os.listdir(tmp_path)) == {'b', f'.other.build-{number}', '.b.notes-7'}


def test_what_is_being_filled_is_never_removed(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / 'b') as first:
        (first / 'one').touch()
        with atomic_folder(tmp_path / 'b') as second:
            assert (first / 'one').exists() and second != first
            (second / 'two').touch()
    assert os.listdir(tmp_path) == ['b'] and os.listdir(tmp_path / 'b') == ['one']
    draft = tmp_path / '.b.build-2'
    draft.mkdir()
    lock = held(draft)
    with atomic_folder(tmp_path / 'b'):
        assert draft.exists()
    os.close(lock)


def test_a_killed_process_leaves_a_draft_that_the_next_one_removes(tmp_path: Path) -> None:
    program = (
        'import sys, os, signal, pathlib\n'
        'from penguin_ros.atomic_folder import atomic_folder\n'
        'with atomic_folder(pathlib.Path(sys.argv[1])) as staging:\n'
        '    (staging / "half").touch()\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, '-c', program, str(tmp_path / 'b')], cwd=root, check=False)
    assert len(os.listdir(tmp_path)) == 1
    with atomic_folder(tmp_path / 'b') as staging:
        (staging / 'whole').touch()
    assert os.listdir(tmp_path) == ['b'] and os.listdir(tmp_path / 'b') == ['whole']


@pytest.mark.parametrize('which', ['mounted', 'parent locked'])
def test_a_place_that_cannot_be_renamed_is_filled_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    volume = tmp_path / 'volume'
    (volume / 'lost+found').mkdir(parents=True)
    (volume / '.volume.build-1').mkdir()  # of a killed build
    if which == 'mounted':
        monkeypatch.setattr(module, 'is_mount_point', lambda path: path == volume)
    else:
        monkeypatch.setattr(module.os, 'access', lambda path, mode: path != tmp_path)
    for text in ('first', 'second'):
        with atomic_folder(volume) as staging:
            assert staging.parent == volume
            (staging / MANIFEST).write_text(text)
            (staging / text).mkdir()
        assert {path.name for path in entries(volume)} == {MANIFEST, text}
        assert (volume / MANIFEST).read_text() == text
    with pytest.raises(KeyError), atomic_folder(volume) as staging:
        (staging / MANIFEST).write_text('third')
        raise KeyError
    assert set(os.listdir(volume)) == {MANIFEST, 'second', 'lost+found'}
    assert os.listdir(tmp_path) == ['volume']


def test_what_was_set_aside_inside_comes_back_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'is_mount_point', lambda path: True)
    bundle(tmp_path / 'b' / '.b.replaced-x', 'the last good one')
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / 'b'):
        raise KeyboardInterrupt
    assert (tmp_path / 'b' / MANIFEST).read_text() == 'the last good one'


def test_a_link_keeps_leading_where_it_leads(tmp_path: Path) -> None:
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'disk' / 'b')
    for text in ('first', 'second'):
        with atomic_folder(link) as staging:
            assert staging.parent == tmp_path / 'disk'
            (staging / MANIFEST).write_text(text)
        assert link.is_symlink() and (link / MANIFEST).read_text() == text
    assert os.listdir(tmp_path / 'disk') == ['b']


def test_a_bundle_set_aside_by_a_build_that_was_killed_then_comes_back(tmp_path: Path) -> None:
    bundle(tmp_path / '.b.replaced-1', 'the last good one')
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / 'b'):
        raise KeyboardInterrupt
    assert (tmp_path / 'b' / MANIFEST).read_text() == 'the last good one'
