# SPDX-License-Identifier: Apache-2.0
"""Frames of a clip are made on threads: the same bits, each once, and nothing goes on unasked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from penguin_ros.generation import frame_preparation
from penguin_ros.generation.frame_preparation import prepare_all, prepared_frames
from penguin_ros.model_inputs import FramePatches, Pixels

SECONDS = 20.0


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has."""
    monkeypatch.setattr(frame_preparation, '_usable_cores', lambda: 3)


def made_by(make: Callable[[], Pixels], content: bytes = b'') -> FramePatches:
    return FramePatches(make, 2, 2, 2, content=content)


def test_frames_are_made_at_once_and_each_once() -> None:
    together, made = threading.Barrier(3), []

    def make(number: int) -> Pixels:
        together.wait(SECONDS)  # fails unless three are made at once
        made.append(number)
        return np.full((4, 3), number, np.float32)

    frames = [made_by(lambda number=number: make(number)) for number in range(3)]  # type: ignore[misc]
    with prepared_frames(frames) as prepared:
        for number, frame in enumerate(frames):
            prepared.wait(frame)
            assert (frame.pixels == number).all()
    assert sorted(made) == [0, 1, 2]


def test_what_making_a_frame_raises_comes_where_it_is_waited_for() -> None:
    def fail() -> Pixels:
        raise ValueError('broken on purpose')

    good = made_by(lambda: np.zeros((4, 3), np.float32))
    bad = made_by(fail)
    with prepared_frames([good, bad]) as prepared:
        prepared.wait(good)
        with pytest.raises(ValueError, match='on purpose'):
            prepared.wait(bad)


def test_frames_that_nobody_waits_for_any_more_are_not_begun() -> None:
    release, begun = threading.Event(), []

    def make(number: int) -> Pixels:
        begun.append(number)
        release.wait(SECONDS)
        return np.zeros((4, 3), np.float32)

    frames = [made_by(lambda number=number: make(number)) for number in range(20)]  # type: ignore[misc]
    with prepared_frames(frames):
        pass
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith('penguin frames'):
            thread.join(SECONDS)
    assert len(begun) <= 3


def test_a_single_frame_is_made_where_it_is_asked_for() -> None:
    threads: list[threading.Thread] = []

    def make() -> Pixels:
        threads.append(threading.current_thread())
        return np.zeros((4, 3), np.float32)

    frame = made_by(make)
    with prepared_frames([frame]) as prepared:
        prepared.wait(frame)
        assert not threads
        _ = frame.pixels
    assert threads == [threading.current_thread()]


def test_all_frames_are_made_at_once_on_any_number_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cores in (1, 3):
        monkeypatch.setattr(frame_preparation, '_usable_cores', lambda cores=cores: cores)
        frames = [made_by(lambda: np.ones((4, 3), np.float32)) for _ in range(5)]
        prepare_all(frames)
        assert all('_kept' in vars(frame) for frame in frames)
