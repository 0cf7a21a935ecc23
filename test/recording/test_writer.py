# SPDX-License-Identifier: Apache-2.0
"""The thread that writes a recording: what it takes, drops and says when the disk does not play
along.
"""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rosbags', reason='recordings are written with it')

from rosbags.rosbag2 import Reader, Writer

from penguin_ros.recording.definitions import Definitions
from penguin_ros.recording.writer import ROOM_FOR_TEXTS, Recorded, RecordingExists, RecordingWriter

KIND = 'builtin_interfaces/msg/Time'
CONTENT = b'\0\1\0\0' + bytes(8)


def nowhere(package: str) -> Path:
    raise LookupError(package)


def opened(folder: Path, max_bytes: int = 2 * ROOM_FOR_TEXTS) -> RecordingWriter:
    return RecordingWriter(folder, Definitions(nowhere), max_bytes)


def test_what_was_put_is_read_again_in_the_order_of_its_times(tmp_path: Path) -> None:
    writer = opened(tmp_path / 'drive')
    for time_ns in (3, 1, 2):  # annotations come after pictures that are later
        assert writer.put(Recorded('/time', KIND, time_ns, CONTENT))
    assert writer.close()
    with Reader(tmp_path / 'drive') as reader:
        found = [(each.topic, time, content) for each, time, content in reader.messages()]
    assert found == [('/time', time_ns, CONTENT) for time_ns in (1, 2, 3)]
    assert not writer.put(Recorded('/time', KIND, 4, CONTENT))  # it is closed


def test_a_folder_that_is_there_is_never_written_to(tmp_path: Path) -> None:
    with pytest.raises(RecordingExists):
        opened(tmp_path)


def test_a_slow_disk_costs_pictures_and_no_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    write = Writer.write

    def slow(self: Any, *arguments: Any) -> None:
        may_write.wait(30.0)
        write(self, *arguments)

    monkeypatch.setattr(Writer, 'write', slow)
    writer = opened(tmp_path / 'drive')
    picture = Recorded('/picture', KIND, 1, CONTENT + bytes(ROOM_FOR_TEXTS // 4), is_picture=True)
    taken = sum(writer.put(picture) for _ in range(20))
    assert 3 <= taken <= 5  # those that fit, and the one that is being written
    assert all(writer.put(Recorded('/text', KIND, 2, CONTENT)) for _ in range(100))
    assert writer.drops == {'the disk is slow: /picture': 20 - taken}
    may_write.set()
    assert writer.close()
    assert writer.counts['/text'] == 100


def test_a_full_disk_ends_the_recording_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, *arguments: Any) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Writer, 'write', full)
    writer = opened(tmp_path / 'drive')
    writer.put(Recorded('/time', KIND, 1, CONTENT))
    assert writer.close()
    assert 'space' in str(writer.failure)
    assert not writer.put(Recorded('/time', KIND, 2, CONTENT))
