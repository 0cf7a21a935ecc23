# SPDX-License-Identifier: Apache-2.0
"""A question that costs a server next to nothing, to learn what it takes."""

from __future__ import annotations

import numpy as np

from penguin_ros.frame import NANOSECONDS, Frame, FrameType
from penguin_ros.remote.dialects import GetPicture
from penguin_ros.remote.frame_pictures import FramePictures
from penguin_ros.remote.question import RemoteFrame, RemoteQuestion

SIZE = (56, 56)
PATIENCE_NS = 10 * NANOSECONDS


def probe_question(now_ns: int) -> tuple[RemoteQuestion, GetPicture]:
    """Returns a question of one token about two small gray frames, and what encodes them."""
    gray = np.full((*SIZE, 3), 128, np.uint8)
    frames = tuple(
        RemoteFrame(Frame(second * NANOSECONDS, gray), FrameType.KEY, SIZE) for second in (0, 1)
    )
    question = RemoteQuestion(
        id='probe',
        text='Describe.',
        frames=frames,
        camera='',
        is_clip=True,
        is_caption=False,
        is_truncated=False,
        max_tokens=1,
        first_ns=now_ns + PATIENCE_NS,
        deadline_ns=now_ns + PATIENCE_NS,
    )
    pictures = FramePictures()
    return question, lambda frame: pictures.picture(frame, 90)
