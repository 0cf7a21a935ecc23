# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, whatever was there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penguin_ros.atomic_folder import atomic_folder
from penguin_ros.backends.base.manifest import MANIFEST

DEAD = 2**22 + 1
"""No process has this number, which is above the kernel's largest."""


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


def test_what_killed_builds_left_goes_and_that_of_running_ones_stays(tmp_path: Path) -> None:
    for name in (
        f'.b.build-{DEAD}',
        f'.b.build-{os.getppid()}',
        f'.other.build-{DEAD}',
        '.b.notes-7',
    ):
        (tmp_path / name).mkdir()
    with atomic_folder(tmp_path / 'b'):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {
        'b',
        f'.b.build-{os.getppid()}',
        f'.other.build-{DEAD}',
        '.b.notes-7',
    }


def test_a_bundle_set_aside_by_a_build_that_was_killed_then_comes_back(tmp_path: Path) -> None:
    bundle(tmp_path / f'.b.replaced-{DEAD}', 'the last good one')
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / 'b'):
        raise KeyboardInterrupt
    assert (tmp_path / 'b' / MANIFEST).read_text() == 'the last good one'
