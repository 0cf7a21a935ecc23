# SPDX-License-Identifier: Apache-2.0
"""How much a store may keep, and how it writes: its settings."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.settings import setting

DAYS = (0.0, 36500.0)
MEBIBYTES = (0, 1 << 24)


@dataclass(frozen=True)
class StoreLimits:
    """How long and how much of each kind is kept, and how often is written. What is pinned stays,
    whatever the limits.
    """

    caption_days: float = setting(
        365.0, 'Age at which captions are forgotten; 0: never.', unit='days', span=DAYS
    )
    answer_days: float = setting(
        365.0, 'Age at which answers are forgotten; 0: never.', unit='days', span=DAYS
    )
    event_days: float = setting(
        0.0, 'Age at which events are forgotten; 0: never.', unit='days', span=DAYS
    )
    picture_days: float = setting(
        30.0, 'Age at which pictures are forgotten; 0: never.', unit='days', span=DAYS
    )
    caption_mebibytes: int = setting(
        2048, 'Size from which the oldest captions leave; 0: no limit.', unit='MiB', span=MEBIBYTES
    )
    answer_mebibytes: int = setting(
        256, 'Size from which the oldest answers leave; 0: no limit.', unit='MiB', span=MEBIBYTES
    )
    event_mebibytes: int = setting(
        256, 'Size from which the oldest events leave; 0: no limit.', unit='MiB', span=MEBIBYTES
    )
    picture_mebibytes: int = setting(
        4096, 'Size from which the oldest pictures leave; 0: no limit.', unit='MiB', span=MEBIBYTES
    )
    min_free_mebibytes: int = setting(
        200,
        'Free space of the disk below which no picture is stored any more, and below half of which '
        'the oldest pictures leave.',
        unit='MiB',
        span=MEBIBYTES,
    )
    commit_seconds: float = setting(
        0.5,
        'Longest time for which something new waits to be written; a power cut loses no more than '
        'that and what the writing takes. Longer writes less to the disk.',
        unit='s',
        span=(0.05, 60.0),
    )
    max_waiting: int = setting(
        4096, 'Entries that wait for the disk; more are dropped and counted.', span=(16, 1_000_000)
    )


KEEP_ALL = StoreLimits(
    caption_days=0.0,
    answer_days=0.0,
    picture_days=0.0,
    caption_mebibytes=0,
    answer_mebibytes=0,
    event_mebibytes=0,
    picture_mebibytes=0,
)
"""No limit but the disk's: for who writes to a store whose limits somebody else knows."""
