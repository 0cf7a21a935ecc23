# SPDX-License-Identifier: Apache-2.0
"""Puts questions about stored pictures, or about none, to a penguin node, through its action.

Coroutines of the executor's thread; nothing blocks it. A node that is gone, or goes in the middle,
ends the question with a named error at its deadline at the latest.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from penguin_msgs.action import AnswerQuestion
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from penguin_ros.errors import DeadlineExceeded, Inactive, PenguinError, RequestCancelled
from penguin_ros.frame import to_nanoseconds
from penguin_ros.request import NO_CAMERA
from penguin_ros.ros.conversions.memory_messages import picture_message
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.memory_node.background import Background, hand_over
from penguin_ros.ros.memory_node.listener import OWN_QUESTION


@dataclass(frozen=True)
class StoredPicture:
    """A picture of the memory, with the camera and stamp of its frame, and its width and height in
    pixels.
    """

    jpeg: bytes
    stamp_ns: int
    camera: str
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Asked:
    """A question about `pictures`, oldest first, or about none; `choices` as in Question.

    Pictures of one camera and one size are shown as a clip with their times, others one by one.
    """

    question: str
    pictures: Sequence[StoredPicture] = ()
    choices: Sequence[str] = ()
    max_tokens: int = 0

    @property
    def is_clip(self) -> bool:
        """Whether the pictures are shown with their times."""
        stamps = [each.stamp_ns for each in self.pictures]
        kinds = {(each.camera, each.size) for each in self.pictures}
        return len(kinds) == 1 and all(a < b for a, b in pairwise(stamps))


class QuestionFailed(PenguinError):
    """The penguin node answered with an error; `code` is its constant of ErrorCode."""

    def __init__(self, what: str, why: str = '', fix: str = '', code: int = 0) -> None:
        super().__init__(what, why, fix)
        self.code = code


class Cancellation:
    """Ends the question that is under way in its name, and all later ones."""

    def __init__(self, background: Background) -> None:
        self.is_requested = False
        self._background = background
        self._waiting: Any = None

    def watch(self, future: Any) -> None:
        """Has the future end with RequestCancelled when that is requested, or was."""
        self._waiting = future
        if self.is_requested:
            self.request()

    def request(self) -> None:
        """Ends what is watched; on the executor's thread."""
        self.is_requested = True
        if self._waiting is not None:
            self._background.end(
                self._waiting, RequestCancelled('the client cancelled the request')
            )


class PenguinClient:
    """Asks the penguin nodes called `nodes`, full names, in the order of preference."""

    def __init__(self, node: Node, nodes: Sequence[str], background: Background) -> None:
        self._node = node
        self._background = background
        group = ReentrantCallbackGroup()
        self._clients = {
            name: ActionClient(
                node, AnswerQuestion, f'{name}/answer_question', callback_group=group
            )
            for name in nodes
        }

    def close(self) -> None:
        """Destroys the clients, which the node does not do by itself."""
        for client in self._clients.values():
            client.destroy()

    async def ask(
        self,
        asked: Asked,
        deadline_ns: int,
        preferred: str = '',
        cancellation: Cancellation | None = None,
    ) -> Any:
        """Returns the penguin_msgs/Answer, without error.

        `deadline_ns` is on the steady clock. Inactive when no node answers, DeadlineExceeded,
        RequestCancelled, QuestionFailed.
        """
        name, client = self._ready_client(preferred)
        too_late = partial(
            DeadlineExceeded,
            f'{name} did not answer in time',
            'the deadline of the request to the memory is over',
            'Ask with a longer deadline',
        )
        sent = client.send_goal_async(_goal(asked))
        handle = await self._background.within(sent, deadline_ns, too_late)
        _check_accepted(handle, name)
        mine = self._background.future()
        handle.get_result_async().add_done_callback(partial(hand_over, mine))
        (cancellation or Cancellation(self._background)).watch(mine)
        try:
            result = await self._background.within(mine, deadline_ns, too_late)
        except (DeadlineExceeded, RequestCancelled):
            handle.cancel_goal_async()
            raise
        answer = result.result.answer
        if answer.error_code:
            what = f'{name} could not answer'
            raise QuestionFailed(what, answer.error_message, code=answer.error_code)
        return _with_cameras(answer, asked.pictures)

    def _ready_client(self, preferred: str) -> tuple[str, ActionClient]:
        names = [preferred, *self._clients] if preferred in self._clients else [*self._clients]
        for name in names:
            if self._clients[name].server_is_ready():
                return name, self._clients[name]
        raise Inactive(
            f'no penguin node answers: {", ".join(self._clients)}',
            'it does not run, or is on another ROS_DOMAIN_ID',
            'Start it, or name it in the parameter nodes; what is stored can be recalled without',
        )


def _check_accepted(handle: Any, name: str) -> None:
    if not handle.accepted:
        raise Inactive(
            f'{name} refused the question',
            'it is not active',
            f'Type: ros2 lifecycle set {name} activate',
        )


def _goal(asked: Asked) -> AnswerQuestion.Goal:
    """Returns the goal. Its deadline is the node's own, which it may not exceed; it is cancelled
    when ours is over.
    """
    return AnswerQuestion.Goal(
        id=f'{OWN_QUESTION}{uuid.uuid4().hex}',
        question=asked.question,
        camera='' if asked.pictures else NO_CAMERA,
        images=[picture_message(each.jpeg, each.stamp_ns) for each in asked.pictures],
        image_stamps=[time_message(each.stamp_ns) for each in asked.pictures if asked.is_clip],
        choices=list(asked.choices),
        max_tokens=asked.max_tokens,
    )


def _with_cameras(answer: Any, pictures: Sequence[StoredPicture]) -> Any:
    """Returns the answer, whose evidence names the stored frames: their cameras, and their stamps
    where the pictures were shown one by one.
    """
    by_stamp = {each.stamp_ns: each for each in pictures}
    frames = answer.evidence.frames
    for index, frame in enumerate(frames):
        shown = by_stamp.get(to_nanoseconds(frame.stamp))
        if shown is None and not to_nanoseconds(frame.stamp) and len(frames) == len(pictures):
            shown = pictures[index]
        if shown is not None:
            frame.stamp, frame.camera = time_message(shown.stamp_ns), shown.camera
    cameras = {each.camera for each in pictures}
    if len(cameras) == 1:
        answer.camera = answer.camera or cameras.pop()
    if frames:
        answer.evidence.start, answer.evidence.end = frames[0].stamp, frames[-1].stamp
    return answer
