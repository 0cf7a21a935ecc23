# SPDX-License-Identifier: Apache-2.0
"""Each clip of a recording comes into a memory exactly once, however often that is interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.evaluation.offline import ANY_LENGTH, offline
from penguin_ros.evaluation.recording_index import Indexed, Source, index_recording
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.media.recording import Account
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store
from penguin_ros.request import Answer
from penguin_ros.settings import with_values

CONFIG = with_values(offline(ANY_LENGTH), {'clip.seconds': 4.0, 'clip.fps': 2.0})
SECONDS, CLIPS = 120, 30
SOURCE = Source('monday', '/front', has_pictures=True)
TODAY = 1_780_000_000 * NANOSECONDS


class Recorded:
    """A recording of grey images at 2 Hz from `origin_ns` on, with a gap of a minute."""

    def __init__(self, origin_ns: int) -> None:
        self.origin_ns = origin_ns
        self.duration_ns = (SECONDS + 60) * NANOSECONDS
        self.account = Account()

    def length_ns(self) -> int:
        return self.duration_ns

    def frames(
        self, sample_fps: float = 0.0, start_ns: int = 0, end_ns: int | None = None
    ) -> Iterator[tuple[int, Image]]:
        for number in range(2 * SECONDS):
            since = number * NANOSECONDS // 2 + (60 * NANOSECONDS if number >= SECONDS else 0)
            if since >= start_ns:
                yield self.origin_ns + since, np.full((20, 30, 3), number % 250, np.uint8)


class Captioner:
    """Captions until it is interrupted."""

    def __init__(self, clips: int) -> None:
        self.left = clips

    def caption(self, clip: Sequence[Frame]) -> Answer:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return Answer('', '', '', f'grey {clip[0].image[0, 0, 0]}')


def index(folder: Path, clips: int, origin_ns: int) -> Indexed:
    with Store.open(folder) as store:
        runner: Any = Captioner(clips)
        return index_recording(
            runner, CONFIG, store, SOURCE, Recorded(origin_ns), lambda at, total, left: None
        )


@pytest.mark.parametrize('origin_ns', [NANOSECONDS, TODAY], ids=['simulated', 'today'])
def test_an_interrupted_index_goes_on_where_it_was(tmp_path: Path, origin_ns: int) -> None:
    for clips in (3, 9, 11):
        with pytest.raises(KeyboardInterrupt):
            index(tmp_path, clips, origin_ns)
    assert index(tmp_path, 100, origin_ns) == Indexed(captioned=CLIPS - 23, known=23)
    assert index(tmp_path, 100, origin_ns) == Indexed(captioned=0, known=CLIPS)
    with Store.open(tmp_path, is_read_only=True) as store:
        entries = [hit.entry for hit in store.recall(Filter(limit=100)).hits]
        assert len(entries) == CLIPS and len({entry.start_ns for entry in entries}) == CLIPS
        assert len({entry.session for entry in entries}) == 1
        assert (entries[0].session == store.session) == (origin_ns == TODAY)
        assert store.picture(entries[0]).startswith(b'\xff\xd8')
        assert (entries[0].node, entries[0].camera) == ('monday', '/front')
