# SPDX-License-Identifier: Apache-2.0
"""What the console needs of a robot: the contract between the page's server and ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Fields = Mapping[str, Any]
OnPiece = Callable[[Fields], None]


class Refused(Exception):
    """Why a robot does not do what was asked: what, why, and what to do, in words."""


@dataclass(frozen=True)
class Look:
    """What a browser wants of a camera: pictures at most `width` pixels wide, at most `rate` per
    second. At rate 0 none: frames are only kept, so that those behind an answer can be shown.
    """

    node: str
    camera: str
    width: int
    rate: float


@dataclass(frozen=True)
class Picture:
    """A JPEG for one browser; `stamp_ns` that of its frame."""

    node: str
    camera: str
    stamp_ns: int
    jpeg: bytes


class Robot(Protocol):
    """All methods are called on the thread of the loop and may be cancelled at any await."""

    async def do(self, name: str, fields: Fields, on_piece: OnPiece) -> Fields:
        """Does what a command of `commands.FIELDS` says and returns what the page is told; Refused.
        `on_piece` gets what there is before that: the growing text of an answer. Cancelling it
        cancels the question.
        """
        ...

    def look(self, look: Look, on_picture: Callable[[Picture], None]) -> Any:
        """Has `on_picture` called with new pictures, on the thread of the loop, until `close` of
        what is returned is called. Nothing is encoded for nobody.
        """
        ...

    async def frame(self, node: str, camera: str, stamp_ns: int) -> bytes:
        """Returns the JPEG of a frame that an answer was based on; Refused when it is gone."""
        ...
