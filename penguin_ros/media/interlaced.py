# SPDX-License-Identifier: Apache-2.0
"""Tells whether OpenCV fails to convert the images of a video and reports that as success.

From OpenCV 5 on the conversion of interlaced images fails, and what was in memory before is given
out as the image: the one before, or anything. Only messages that the library prints say so; so the
images are decoded once more in a process whose output can be read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIMIT_S = 60.0
INTERLACED = 'cannot convert interlaced'
SIGNS = (INTERLACED, 'invalid argument): fmt:')
"""What the messages of a failed conversion hold."""

_PROGRAM = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
index = int(sys.argv[2])
if index > 1:
    capture.set(cv2.CAP_PROP_POS_FRAMES, index - 1)
for _ in range(2):
    capture.grab() and capture.retrieve()
"""


def conversion_fault(path: Path, index: int) -> str:
    """Returns why converting the image of that index, or the one before it, fails; '' when it does
    not.
    """
    if not sys.executable:
        return ''
    try:
        done = subprocess.run(
            [sys.executable, '-c', _PROGRAM, str(path.absolute()), str(index)],
            env={**os.environ, 'OPENCV_FFMPEG_LOGLEVEL': '24'},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    said = (done.stdout + done.stderr).decode(errors='replace').lower()
    if not any(sign in said for sign in SIGNS):
        return ''
    kind = 'it is interlaced' if INTERLACED in said else 'its images cannot be converted'
    return f'{kind}, and this OpenCV gives out whatever lies in memory as if it were an image'
