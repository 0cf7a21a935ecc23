# SPDX-License-Identifier: Apache-2.0
"""The penguin node with a scripted model and one part broken on purpose, which the variable
PENGUIN_FAULT chooses. Run as a module.
"""

import itertools
import os
import sys
import time

from penguin_ros.ros.node.main import main
from penguin_ros.testing.scripted_backend import ScriptedBackend, answering


def failing_callbacks():
    """Every second frame raises in the callback of its subscription; the first caption raises where
    it is published.
    """
    from penguin_ros.pipeline import Pipeline
    from penguin_ros.ros.node import captions

    add_frame, to_message, numbers, texts = (
        Pipeline.add_frame,
        captions.caption_message,
        itertools.count(),
        itertools.count(),
    )

    def broken_add_frame(self, frame):
        if next(numbers) % 2 == 0:
            raise ValueError('broken on purpose')
        add_frame(self, frame)

    def broken_message(answer):
        if next(texts) == 0:
            raise KeyError('broken on purpose')
        return to_message(answer)

    Pipeline.add_frame = broken_add_frame
    captions.caption_message = broken_message


def hanging_step():
    """The model does not return from its 20th step for a minute."""
    forward, numbers = ScriptedBackend.forward, itertools.count()

    def hanging_forward(self, *arguments, **named):
        if next(numbers) == 20:
            time.sleep(60)
        return forward(self, *arguments, **named)

    ScriptedBackend.forward = hanging_forward


def dying_worker():
    """The worker thread ends in the middle of a job."""
    from penguin_ros.scheduler.scheduler import Scheduler

    advance, numbers = Scheduler._advance, itertools.count()

    def broken_advance(self, entry):
        if next(numbers) == 10:
            raise SystemError('broken on purpose')
        advance(self, entry)

    Scheduler._advance = broken_advance


if __name__ == '__main__':
    globals()[os.environ['PENGUIN_FAULT']]()
    sys.exit(main(backend_factory=answering()))
