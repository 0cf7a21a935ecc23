# SPDX-License-Identifier: Apache-2.0
"""The lines of progress follow the bytes on disk."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from penguin_ros.checkpoint import hub
from penguin_ros.checkpoint.hub import DownloadProgress, megabytes


def test_lines_tell_how_much_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, 'PERIOD_SECONDS', 0.01)
    lines: queue.Queue[str] = queue.Queue()
    (tmp_path / 'older').write_bytes(bytes(1_000_000))
    with DownloadProgress(tmp_path, 'a/b', 4_000_000, lines.put):
        assert lines.get(timeout=10) == 'downloading a/b: 4.0 MB to go'
        (tmp_path / 'x.incomplete').write_bytes(bytes(3_000_000))
        while (line := lines.get(timeout=10)) != 'downloading a/b: 3.0 MB of 4.0 MB':
            assert line == 'downloading a/b: 0.0 MB of 4.0 MB'
    assert list(lines.queue)[-1] == 'downloaded a/b'


def test_what_an_interrupted_download_left_counts(tmp_path: Path) -> None:
    (tmp_path / 'x.incomplete').write_bytes(bytes(3_000_000))
    assert DownloadProgress(tmp_path, 'a/b', 4_000_000, print).missing_bytes == 1_000_000


def test_a_failed_download_is_not_called_downloaded(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(OSError, match='broken'), DownloadProgress(tmp_path, 'a/b', 1, lines.append):
        raise OSError('broken')
    assert 'downloaded a/b' not in lines


@pytest.mark.parametrize(
    'count, text', [(0, '0.0 MB'), (1_230_000, '1.2 MB'), (4_600_000_000, '4.6 GB')]
)
def test_sizes_are_told_for_people(count: int, text: str) -> None:
    assert megabytes(count) == text
