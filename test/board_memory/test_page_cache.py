# SPDX-License-Identifier: Apache-2.0
"""Files leave the page cache, also new ones and those that were mapped."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from support.page_cache import cached_bytes, can_drop

from penguin_ros.board_memory.page_cache import drop, drop_below, forget_pages

SIZE = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder on a disk whose files can leave the page cache."""
    if not can_drop(tmp_path):
        pytest.skip('files of this file system do not leave the page cache')
    return tmp_path


def test_a_file_that_was_just_written_leaves(folder: Path) -> None:
    path = folder / 'a'
    path.write_bytes(bytes(SIZE))
    assert cached_bytes(path) == SIZE
    drop(path)
    assert cached_bytes(path) == 0


def test_everything_below_a_folder_leaves(folder: Path) -> None:
    (folder / 'deep').mkdir()
    paths = [folder / 'a', folder / 'deep' / 'b']
    for path in paths:
        path.write_bytes(bytes(SIZE))
    drop_below(folder)
    assert [cached_bytes(path) for path in paths] == [0, 0]


def test_a_mapped_file_leaves_once_its_pages_are_given_up(folder: Path) -> None:
    path = folder / 'a'
    path.write_bytes(bytes(SIZE))
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert sum(content[:]) == 0
        drop(path)
        assert cached_bytes(path) > 0, 'the kernel keeps what is mapped'
        forget_pages(content)
        drop(path)
        assert cached_bytes(path) == 0
        assert content[:4] == bytes(4), 'and reads it again when it is looked at'


def test_a_file_that_is_absent_is_no_error(folder: Path) -> None:
    drop(folder / 'absent')
