# SPDX-License-Identifier: Apache-2.0
"""Files are read once; afterwards size, time of change and inode are trusted. A copy is read
again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.backends.base import file_digests
from penguin_ros.backends.base.file_digests import RECORD, FileDigests, file_spec

LONG_AGO_NS = 10**18


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    names: list[str] = []
    read = file_digests.file_sha256

    def noted(path: Path, *rest: Any) -> str:
        names.append(path.name)
        return read(path, *rest)

    monkeypatch.setattr(file_digests, 'file_sha256', noted)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file that has not changed for long."""
    made = tmp_path / 'folder'
    made.mkdir()
    put(made, b'weights')
    return made


def put(folder: Path, content: bytes, changed_ns: int = LONG_AGO_NS) -> None:
    (folder / 'a.bin').write_bytes(content)
    os.utime(folder / 'a.bin', ns=(changed_ns, changed_ns))


def problem(folder: Path, content: bytes = b'weights', **how: bool) -> str:
    """What opening the folder finds, when its file was written with this content."""
    scratch = folder.with_name('as_written')
    scratch.write_bytes(content)
    spec = file_spec(scratch)
    digests = FileDigests(folder, **how)
    found = digests.problem('a.bin', spec)
    digests.save()
    return found


def test_a_file_is_read_once(folder: Path, reads: list[str]) -> None:
    for _ in range(3):
        assert problem(folder) == ''
    assert reads.count('a.bin') == 1


def test_a_changed_file_is_read_again_and_found(folder: Path, reads: list[str]) -> None:
    problem(folder)
    put(folder, b'weighty', LONG_AGO_NS + 1)
    assert problem(folder) == 'a.bin was changed' and reads.count('a.bin') == 2
    put(folder, b'weights and more')
    assert '16 bytes, 7 were written' in problem(folder) and reads.count('a.bin') == 2


def test_a_file_that_was_replaced_with_the_same_size_and_time_is_read_again(
    folder: Path, reads: list[str]
) -> None:
    problem(folder)
    shutil.copy2(folder / 'a.bin', folder / 'b.bin')
    os.replace(folder / 'b.bin', folder / 'a.bin')
    assert problem(folder) == '' and reads.count('a.bin') == 2


def test_a_copy_of_the_folder_is_read_again_once(folder: Path, reads: list[str]) -> None:
    problem(folder)
    copy = Path(shutil.copytree(folder, folder.with_name('copy')))
    assert (copy / RECORD).is_file()
    problem(copy)
    assert reads.count('a.bin') == 2
    problem(copy)
    assert reads.count('a.bin') == 2


def test_a_file_that_changed_a_moment_ago_is_not_trusted_yet(
    folder: Path, reads: list[str]
) -> None:
    import time

    put(folder, b'weights', time.time_ns())
    problem(folder)
    problem(folder)
    assert reads.count('a.bin') == 2 and not (folder / RECORD).exists()


def test_a_thorough_check_reads_everything(folder: Path, reads: list[str]) -> None:
    problem(folder)
    assert problem(folder, is_trusting=False) == '' and reads.count('a.bin') == 2
    problem(folder)
    assert reads.count('a.bin') == 2, 'and what it read is trusted'


@pytest.mark.parametrize('text', ['', '{', '[]', '{"a.bin": 1}', '{"a.bin": {"stamp": 3}}'])
def test_a_damaged_record_counts_as_none(folder: Path, reads: list[str], text: str) -> None:
    (folder / RECORD).write_text(text)
    assert problem(folder) == '' and reads.count('a.bin') == 1


def test_a_folder_that_may_not_be_written_has_its_record_in_the_users_cache(
    folder: Path, reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (folder / RECORD).mkdir()  # also root cannot put a file there
    problem(folder)
    problem(folder)
    assert reads.count('a.bin') == 1
    assert len(list((tmp_path / 'cache' / 'penguin_ros' / 'digests').glob('*.json'))) == 1
