# SPDX-License-Identifier: Apache-2.0
"""Which frames of a stretch make a clip. Pure functions; knows neither buffers nor clocks."""
from __future__ import annotations

from collections.abc import Sequence

from penguin_ros.config import ClipConfig
from penguin_ros.frame import NANOSECONDS, Frame


def runs_of_equal_size(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Neighbours of one picture size together, in order."""
    runs: list[list[Frame]] = []
    for frame in frames:
        if runs and runs[-1][-1].size == frame.size:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def chosen(frames: Sequence[Frame], choice: ClipConfig, span_ns: int | None = None) -> tuple[Frame, ...]:
    """At most `choice.fps` frames per second and `choice.max_frames` in all, the newest always among them.

    Time is cut into cells of 1 / fps around newest, newest - 1 / fps, ..., over less than `span_ns`; each cell gives the frame
    nearest to its centre, so that a camera a little faster or slower than `fps` loses none. More than `max_frames` are thinned
    to evenly spread ranks, first and last included.
    """
    period_ns = max(1, round(NANOSECONDS / choice.fps))
    newest_ns = frames[-1].stamp_ns
    nearest: dict[int, tuple[int, Frame]] = {}
    for frame in reversed(frames):
        back_ns = newest_ns - frame.stamp_ns
        cell = (2 * back_ns + period_ns) // (2 * period_ns)
        distance_ns = abs(back_ns - cell * period_ns)
        if (span_ns is None or cell * period_ns < span_ns) and (cell not in nearest or distance_ns < nearest[cell][0]):
            nearest[cell] = distance_ns, frame
    spaced = [nearest[cell][1] for cell in sorted(nearest, reverse=True)]
    return tuple(spaced[rank] for rank in even_ranks(len(spaced), choice.max_frames))


def even_ranks(count: int, limit: int) -> list[int]:
    """`limit` of the ranks 0 .. count - 1, evenly spread, the last always among them; all when there are no more."""
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [count - 1]
    return [(2 * rank * (count - 1) + limit - 1) // (2 * (limit - 1)) for rank in range(limit)]
