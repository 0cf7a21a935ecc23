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
    """Makes every second frame raise in the callback of its subscription, and the first caption
    where it is published.
    """
    from penguin_ros.pipeline import Pipeline
    from penguin_ros.ros.node import captions

    add_frame = Pipeline.add_frame
    to_message = captions.caption_message
    numbers = itertools.count()
    texts = itertools.count()

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


def failing_waits():
    """Makes what the entries wait for raise, for the first two questions, and the conversion of
    the answer to the third.
    """
    from penguin_ros.ros.node import question_server

    end = question_server.QuestionServer._end
    to_message = question_server.answer_message
    ends = itertools.count()
    messages = itertools.count()

    def broken_end(self, pending, answer, outcome):
        if next(ends) < 2:
            pending.future.set_exception(KeyError('broken on purpose'))
        else:
            end(self, pending, answer, outcome)

    def broken_message(answer):
        if next(messages) == 0:
            raise LookupError('broken on purpose')
        return to_message(answer)

    question_server.QuestionServer._end = broken_end
    question_server.answer_message = broken_message


def failing_autostart():
    """Makes the first transition raise on its thread, the node's own and one that is asked for."""
    from penguin_ros.ros.node.penguin_node import PenguinNode
    from penguin_ros.ros.node.transitions import Transitions

    make = Transitions.__init__
    numbers = itertools.count()

    def broken_trigger(self):
        raise KeyError('broken on purpose')

    def broken_init(self, *arguments):
        make(self, *arguments)
        change_state = self._change_state

        def broken_change(request, response):
            if next(numbers) == 0:
                raise LookupError('broken on purpose')
            return change_state(request, response)

        self._change_state = broken_change

    PenguinNode.trigger_configure = broken_trigger
    Transitions.__init__ = broken_init


def hanging_step():
    """Keeps the model in its 20th step for a minute."""
    forward, numbers = ScriptedBackend.forward, itertools.count()

    def hanging_forward(self, *arguments, **named):
        if next(numbers) == 20:
            time.sleep(60)
        return forward(self, *arguments, **named)

    ScriptedBackend.forward = hanging_forward


def dying_worker():
    """Ends the worker thread in the middle of a job."""
    from penguin_ros.scheduler.scheduler import Scheduler

    advance, numbers = Scheduler._advance, itertools.count()

    def broken_advance(self, entry):
        if next(numbers) == 10:
            raise SystemError('broken on purpose')
        advance(self, entry)

    Scheduler._advance = broken_advance


def lost_device():
    """Makes the model's device fail for good in its 20th step."""
    from penguin_ros.errors import DeviceLost

    forward, numbers = ScriptedBackend.forward, itertools.count()

    def lost_forward(self, *arguments, **named):
        if next(numbers) >= 20:
            raise DeviceLost('the GPU stopped', 'an illegal memory access', 'Start again')
        return forward(self, *arguments, **named)

    ScriptedBackend.forward = lost_forward


if __name__ == '__main__':
    globals()[os.environ['PENGUIN_FAULT']]()
    sys.exit(main(backend_factory=answering()))
