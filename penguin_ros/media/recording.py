# SPDX-License-Identifier: Apache-2.0
"""What all recordings offer, whichever format they have, and the account of what became of their
images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from penguin_ros.frame import NANOSECONDS, Image

END_NS = NANOSECONDS
"""How far the last image seen may lie before the last one of the recording, and still be its
end.
"""


@dataclass
class LeftOut:
    """Images that were wanted and could not be used: how many, and why the first could not be."""

    count: int = 0
    reason: str = ''
    fix: str = ''


@dataclass
class Account:
    """What became of the images of a recording, while it is read.

    `used` were given out; `not_due` came between two that the sampling rate or the interval asks
    for; `left_out`, by cause, were wanted and could not be used. `notes` are sentences about the
    recording as a whole. `is_cut`: the recording ends before its end, so that images are gone
    which nobody can count. `last_used_ns` and `last_ns` are the times of the last image used and of
    the last one there is.
    """

    used: int = 0
    not_due: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_cut: bool = False
    last_used_ns: int | None = None
    last_ns: int | None = None

    def use(self, time_ns: int) -> None:
        """Counts an image that is given out."""
        self.used += 1
        self.last_used_ns = time_ns
        self.reach(time_ns)

    def pass_over(self, time_ns: int) -> None:
        """Counts an image that is not wanted."""
        self.not_due += 1
        if self.last_used_ns is not None:  # what follows the last one that was due is no loss
            self.last_used_ns = max(self.last_used_ns, time_ns)
        self.reach(time_ns)

    def stop(self) -> None:
        """Counts the image at which reading stops, since it lies behind what is wanted."""
        self.not_due += 1

    def read_on(self) -> None:
        """Takes the image at which reading stopped back, since it is looked at again."""
        self.not_due -= 1

    def leave_out(
        self, cause: str, reason: str, fix: str = '', time_ns: int | None = None, count: int = 1
    ) -> None:
        """Counts images that were wanted and could not be used."""
        entry = self.left_out.setdefault(cause, LeftOut(0, reason, fix))
        entry.count += count
        if time_ns is not None:
            self.reach(time_ns)

    def reach(self, time_ns: int) -> None:
        """Notes that there is an image at this time."""
        self.last_ns = time_ns if self.last_ns is None else max(self.last_ns, time_ns)

    @property
    def left_out_count(self) -> int:
        """How many images were wanted and could not be used."""
        return sum(entry.count for entry in self.left_out.values())

    @property
    def total(self) -> int:
        """How many images the recording was found to hold."""
        return self.used + self.not_due + self.left_out_count

    @property
    def is_seen_to_the_end(self) -> bool:
        """Whether images were used up to the recording's last one, and more than were left out."""
        if self.is_cut or self.last_used_ns is None or self.last_ns is None:
            return False
        is_near = self.last_ns - self.last_used_ns <= END_NS
        return is_near and self.used + self.not_due > self.left_out_count

    def lines(self) -> list[str]:
        """Returns what a user has to know of it, one sentence a line; nothing when all is well."""
        found = list(self.notes)
        for cause, entry in self.left_out.items():
            images = '1 image was' if entry.count == 1 else f'{entry.count} images were'
            fix = f'. {entry.fix}' if entry.fix else ''
            found.append(f'{images} left out ({cause}): {entry.reason}{fix}')
        return found


class Recording(Protocol):
    """Images with times.

    `duration_ns` is an estimate for progress, `length_ns()` what it really is; `origin_ns` is the
    time at which the recording begins, in the time of its images. `account` belongs to the newest
    call of `frames`.
    """

    duration_ns: int
    origin_ns: int
    account: Account

    def length_ns(self) -> int:
        """Returns how long it is, its last image included, without decoding any; 0 where that
        cannot be told. A video is read as a whole for it.
        """

    def frames(
        self, sample_fps: float = 0.0, start_ns: int = 0, end_ns: int | None = None
    ) -> Iterator[tuple[int, Image]]:
        """Yields (time in ns, RGB) with strictly increasing times, at most `sample_fps` above 0.

        `start_ns` and `end_ns` count from the origin; what lies outside is not decoded. A call that
        starts where the one before ended, or later, reads on from there where the format lets it,
        with the account that this one had; any other reads from the beginning.
        """
