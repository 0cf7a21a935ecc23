# SPDX-License-Identifier: Apache-2.0
"""A recording that is read piece by piece: a call that starts where the one before ended reads on,
and gives what one that begins anew gives.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.bags import write_bag

from penguin_ros.frame import NANOSECONDS
from penguin_ros.media import bag as bag_module
from penguin_ros.media import video as video_module
from penguin_ros.media.recording import Recording
from penguin_ros.media.recordings import open_recording

FRAMES, FPS = 60, 10
Pieces = list[tuple[int, int]]


def film(folder: Path) -> Path:
    path = folder / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), FPS, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    return path


def bag(folder: Path) -> Path:
    pytest.importorskip('rosbags')
    return write_bag(folder / 'bag', ('/image',), count=FRAMES, encodings=('rgb8', 'strange'))


def frames_of(recording: Recording, piece: tuple[int, int]) -> tuple[list[int], list[int]]:
    found = list(recording.frames(2.0, *piece))
    return [time_ns for time_ns, _ in found], [int(image.sum()) for _, image in found]


def ordered_pieces(recording: Recording, chance: random.Random) -> Pieces:
    """Pieces one after the other, some of them left out, as of a film that several share."""
    cuts = sorted(chance.sample(range(1, 20), 8))
    length_ns = recording.duration_ns
    edges = [length_ns * cut // 20 for cut in (0, *cuts, 20)]
    pieces = list(zip(edges, edges[1:], strict=False))
    return [piece for piece in pieces if chance.random() < 0.8]


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('make', [film, bag])
def test_pieces_in_any_order_are_those_of_a_recording_opened_for_each(
    tmp_path: Path, make: Callable[[Path], Path], seed: int
) -> None:
    chance, path = random.Random(seed), make(tmp_path)
    kept = open_recording(path)
    pieces = ordered_pieces(kept, chance)
    pieces += chance.sample(pieces, len(pieces) // 2)  # some again: back to an earlier place
    for piece in pieces:
        fresh = open_recording(path)
        assert frames_of(kept, piece) == frames_of(fresh, piece)
        assert kept.account.total == fresh.account.total


def test_a_film_read_piece_by_piece_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = open_recording(film(tmp_path))
    grabbed, grab = [], video_module.VideoReader.grab
    monkeypatch.setattr(
        video_module.VideoReader, 'grab', lambda self: grabbed.append(1) or grab(self)
    )
    for second in range(6):
        list(recording.frames(2.0, second * NANOSECONDS, (second + 1) * NANOSECONDS))
    assert len(grabbed) == FRAMES + 1  # the last one finds the end


def test_a_bag_read_piece_by_piece_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = open_recording(bag(tmp_path))
    unpacked, unpack = [], bag_module._unpacked
    monkeypatch.setattr(
        bag_module, '_unpacked', lambda message: unpacked.append(1) or unpack(message)
    )
    for second in range(15):
        list(recording.frames(2.0, second * NANOSECONDS, (second + 1) * NANOSECONDS))
    assert len(unpacked) == FRAMES


def test_a_call_that_was_left_early_is_not_read_on(tmp_path: Path) -> None:
    recording = open_recording(film(tmp_path))
    next(iter(recording.frames(2.0, 0, 2 * NANOSECONDS)))
    times, _ = frames_of(recording, (2 * NANOSECONDS, 3 * NANOSECONDS))
    assert times == [2 * NANOSECONDS, 5 * NANOSECONDS // 2]
