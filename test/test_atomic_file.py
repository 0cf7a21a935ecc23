# SPDX-License-Identifier: Apache-2.0
"""A file that appears whole or not at all, whatever stands in its place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from penguin_ros import atomic_file as module
from penguin_ros.atomic_file import atomic_file, check_output, write_bytes, write_text
from penguin_ros.errors import SystemRefusal


def test_it_appears_at_the_end_with_the_rights_of_new_files_or_of_the_old_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.srt'
    with atomic_file(path) as file:
        file.write('new')
        assert not path.exists()
    (tmp_path / 'plain').touch()
    assert path.read_text() == 'new'
    assert path.stat().st_mode == (tmp_path / 'plain').stat().st_mode
    path.chmod(0o640)
    write_bytes(path, b'newer')
    assert path.read_bytes() == b'newer' and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ['a.srt', 'plain']


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError, OSError, SystemExit])
def test_what_was_there_stays_when_the_block_fails(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / 'old.srt'
    path.write_text('an hour of work')
    with pytest.raises(error), atomic_file(path) as file:
        file.write('half')
        raise error
    assert path.read_text() == 'an hour of work' and os.listdir(tmp_path) == ['old.srt']


def test_a_link_keeps_leading_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / 'disk').mkdir()
    for name in ('there.srt', 'not yet.srt'):
        link = tmp_path / f'link to {name}'
        link.symlink_to(tmp_path / 'disk' / name)
    (tmp_path / 'disk' / 'there.srt').write_text('old')
    for name in ('there.srt', 'not yet.srt'):
        check_output(tmp_path / f'link to {name}')
        write_text(tmp_path / f'link to {name}', 'new')
        assert (tmp_path / f'link to {name}').is_symlink()
        assert (tmp_path / 'disk' / name).read_text() == 'new'
    assert len(os.listdir(tmp_path / 'disk')) == 2


def test_where_no_rename_is_possible_the_content_is_copied_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'mounted.srt'
    path.write_text('something longer')

    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, 'Device or resource busy', str(target))

    monkeypatch.setattr(module.Path, 'replace', busy)
    write_text(path, 'new')
    assert path.read_text() == 'new' and os.listdir(tmp_path) == ['mounted.srt']


def test_a_device_and_a_pipe_are_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, 'through')
    reader.join(30)
    assert read == ['through'] and stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(SystemRefusal, match='/dev/full cannot be written: .*No space left'):
        write_text(Path('/dev/full'), 'x')


@pytest.mark.parametrize(
    ('place', 'words'),
    [('no/such/a.srt', 'no folder .*mkdir -p'), ('.', 'is a folder'), ('x' * 300, 'too long')],
)
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, place: str, words: str
) -> None:
    with pytest.raises(SystemRefusal, match=f'cannot be written: .*{words}'):
        check_output(tmp_path / place, option='--srt FILE')


def test_the_input_is_no_output_under_any_name(tmp_path: Path) -> None:
    film = tmp_path / 'film.mp4'
    film.write_bytes(b'film')
    (tmp_path / 'other').symlink_to(film)
    os.link(film, tmp_path / 'third')
    for name in ('film.mp4', 'other', 'third'):
        with pytest.raises(SystemRefusal, match='is the input itself'):
            check_output(tmp_path / name, film)


@pytest.mark.parametrize('exists', [True, False])
def test_missing_permission_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    path = tmp_path / 'a.srt'
    if exists:
        path.touch()
    monkeypatch.setattr(module.os, 'access', lambda path, mode: False)
    with pytest.raises(SystemRefusal, match='lacks the permission.*ls -ld'):
        check_output(path)
