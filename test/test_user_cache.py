# SPDX-License-Identifier: Apache-2.0
"""Everybody has a folder for what is made once, with or without a home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from penguin_ros import user_cache as module
from penguin_ros.errors import CacheUnusable
from penguin_ros.user_cache import can_be_made, expanded, user_cache


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home in tmp_path/home and temporary files in tmp_path/tmp."""
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    (tmp_path / 'home').mkdir()
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))


def without_writing(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Forbids writing below folders, as if this were not root's process."""
    access = os.access

    def may(path: Path, mode: int) -> bool:
        return access(path, mode) and not any(Path(path).is_relative_to(each) for each in folders)

    monkeypatch.setattr(module.os, 'access', may)


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes HOME away, and the entry in /etc/passwd."""

    def unknown() -> Path:
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.setattr(module.Path, 'home', unknown)


def test_it_lies_in_the_home_or_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert user_cache('bundles') == tmp_path / 'home' / '.cache' / 'penguin_ros' / 'bundles'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'elsewhere' / 'deep'))
    assert user_cache() == tmp_path / 'elsewhere' / 'deep' / 'penguin_ros'
    assert not (tmp_path / 'elsewhere').exists()


def test_without_a_home_it_lies_among_the_temporary_files_for_this_user_alone_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_home(monkeypatch)
    told: list[str] = []
    folder = user_cache('bundles', told.append)
    assert folder == tmp_path / 'tmp' / f'penguin_ros-{os.getuid()}' / 'bundles'
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert (
        'HOME is not set' in told[0]
        and 'XDG_CACHE_HOME' in told[0]
        and str(folder.parent) in told[0]
    )
    assert user_cache('bundles') == folder


def test_a_home_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_writing(monkeypatch, tmp_path / 'home')
    told: list[str] = []
    assert user_cache(tell=told.append).is_relative_to(tmp_path / 'tmp')
    assert f'{tmp_path}/home/.cache cannot be written' in told[0]


def test_a_home_that_is_no_folder_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for home in ('/dev/null', '/nowhere/at/all'):
        monkeypatch.setenv('HOME', home)
        without_writing(monkeypatch, Path('/nowhere'))
        expected = home == '/nowhere/at/all' and os.access('/', os.W_OK)
        assert can_be_made(Path(home) / '.cache') is expected


def test_a_folder_of_somebody_else_among_the_temporary_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_home(monkeypatch)
    planted = tmp_path / 'tmp' / f'penguin_ros-{os.getuid()}'
    (tmp_path / 'theirs').mkdir()
    planted.symlink_to(tmp_path / 'theirs')
    with pytest.raises(CacheUnusable, match='belongs to others.*XDG_CACHE_HOME'):
        user_cache()
    planted.unlink()
    planted.mkdir()
    planted.chmod(0o777)
    with pytest.raises(CacheUnusable, match='belongs to others'):
        user_cache()


def test_where_nothing_can_be_written_the_error_names_both_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_home(monkeypatch)
    (tmp_path / 'file').touch()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'file'))
    with pytest.raises(CacheUnusable, match='HOME is not set.*Set HOME or XDG_CACHE_HOME'):
        user_cache()


@pytest.mark.parametrize(
    ('given', 'found'),
    [
        ('~/bundle', '/home/me/bundle'),
        ('~', '/home/me'),
        ('engines/x', 'engines/x'),
        ('/a/~b', '/a/~b'),
        ('owner/name', 'owner/name'),
        ('~no_such_user_/b', '~no_such_user_/b'),
    ],
)
def test_a_tilde_that_no_shell_has_replaced_becomes_the_home(
    monkeypatch: pytest.MonkeyPatch, given: str, found: str
) -> None:
    monkeypatch.setenv('HOME', '/home/me')
    assert expanded(given) == found
