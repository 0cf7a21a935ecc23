# SPDX-License-Identifier: Apache-2.0
"""The disk that a store lies on, when it fills up: first no picture is stored any more, then the
oldest pictures leave; the oldest entries leave when the disk refuses to take new ones.

A small file is kept in reserve, whose place the database takes when the disk is full: removing
entries needs some, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RESERVE = 'reserve'
RESERVE_BYTES = 4 << 20
NEEDED_FOR_RESERVE = 4 * RESERVE_BYTES
TIGHT = 'the disk is nearly full: no picture is stored'
FULL = 'the disk is full: no picture is stored, and the oldest leave'


def free_bytes(folder: Path) -> int:
    """Returns what this user may still write to the disk of a folder."""
    return shutil.disk_usage(folder).free


class Space:
    """Watches the disk; the writer's thread calls it."""

    def __init__(
        self, folder: Path, min_free: int, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._folder = folder
        self._min_free = min_free
        self._free = free
        self._reserve = folder / RESERVE
        self.trouble = ''
        self.keep_reserve()

    @property
    def is_full(self) -> bool:
        """True since the disk took no more, until there is room again."""
        return self.trouble == FULL

    @property
    def has_room_for_pictures(self) -> bool:
        """False while pictures are left out."""
        return not self.trouble

    def look(self) -> bool:
        """Looks how much is free; returns True when the oldest pictures have to leave."""
        free = self._free(self._folder)
        is_full = free < self._min_free / 2
        # What the disk refused once it takes again only when there is room for the reserve.
        needed = max(self._min_free, self.trouble and NEEDED_FOR_RESERVE or 0)
        if free >= needed:
            self.trouble = ''
        elif not self.trouble:
            self.trouble = FULL if is_full else TIGHT
        if not self.trouble:
            self.keep_reserve()
        return is_full

    def refused(self) -> bool:
        """The disk took no more. Returns True when the oldest have to leave: leaving out pictures
        is tried before.
        """
        is_second = bool(self.trouble)
        self.trouble = FULL if is_second else TIGHT
        if is_second:
            self._reserve.unlink(missing_ok=True)
        return is_second

    def keep_reserve(self) -> None:
        """Makes the file in reserve, where there is room for more than that."""
        if self._reserve.exists() or self._free(self._folder) < NEEDED_FOR_RESERVE:
            return
        with suppress(OSError):
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            except OSError:
                self._reserve.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
