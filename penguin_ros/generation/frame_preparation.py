# SPDX-License-Identifier: Apache-2.0
"""Makes the pixels of several frames at once, on threads: resizing gives the interpreter's lock
back. Each frame is made by one thread from that frame alone, so its bits do not depend on others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from penguin_ros.model_inputs import FramePatches

MOST_THREADS = 4
"""Beside the worker's; a robot's other cores have other work."""


class PreparedFrames:
    """Frames whose pixels are being made."""

    def __init__(self, running: dict[int, Future[Any]]) -> None:
        self._running = running

    def wait(self, frame: FramePatches) -> None:
        """Returns when the pixels of `frame` are there; raises what making them raised. A frame
        that was not given makes its own when they are asked for.
        """
        made = self._running.pop(id(frame), None)
        if made is not None:
            made.result()


@contextmanager
def prepared_frames(frames: Sequence[FramePatches]) -> Iterator[PreparedFrames]:
    """Begins to make the pixels of `frames`, in this order, and gives up those that nobody waits
    for any more. A single frame, or a single core, needs no thread.
    """
    threads = min(MOST_THREADS, len(frames), _usable_cores())
    if threads < 2:
        yield PreparedFrames({})
        return
    pool = ThreadPoolExecutor(threads, 'penguin frames')
    try:
        yield PreparedFrames({id(frame): pool.submit(_make, frame) for frame in frames})
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def prepare_all(frames: Sequence[FramePatches]) -> None:
    """Makes the pixels of all frames, as an encode of them all would."""
    with prepared_frames(frames) as prepared:
        for frame in frames:
            prepared.wait(frame)
            _make(frame)


def _make(frame: FramePatches) -> None:
    """Keeps the pixels in the frame."""
    _ = frame.values


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
