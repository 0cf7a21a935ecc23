# SPDX-License-Identifier: Apache-2.0
"""A running penguin node as an object: what Python programs without ROS of their own use."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from penguin_ros.config import CaptionConfig
from penguin_ros.errors import DeadlineExceeded, Inactive, LibraryUnusable, UnknownCamera
from penguin_ros.ros.client.ask_options import AskOptions, asked_question
from penguin_ros.ros.client.chat import Chat
from penguin_ros.ros.client.message_dict import message_dict
from penguin_ros.ros.client.node_rules import NodeRules
from penguin_ros.ros.client.question_client import QuestionClient
from penguin_ros.ros.client.results import Answer, Caption, Memory, caption_of
from penguin_ros.ros.client.robot_memory import RobotMemory
from penguin_ros.ros.client.session import Made
from penguin_ros.ros.client.spinning_session import SpinningSession
from penguin_ros.ros.client.streams import AnswerStream, MessageStream, checked_answer
from penguin_ros.ros.process.requirements import missing_messages

if TYPE_CHECKING:
    from typing_extensions import Unpack

DISCOVERY_S = 10.0
TIMEOUT_S = 120.0
NEWEST_S = 5.0
GIVE_UP_S = 1.0


class Penguin:
    """The penguin node called `node`, or the only one there is; any thread may use it.

    It is looked for at once, for at most `discovery_s`: NodeNotFound when it is not there. Calls
    give up after `timeout_s`. Errors are classes of penguin_ros.errors, each with what failed, why
    and what to do. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        node: str = '',
        *,
        memory: str = '',
        timeout_s: float = TIMEOUT_S,
        discovery_s: float = DISCOVERY_S,
    ) -> None:
        if missing := missing_messages():
            what, _, fix = missing.partition('\n')
            raise LibraryUnusable(what, '', fix)
        self._timeout_s = timeout_s
        self._is_closed = False
        self._session = SpinningSession('penguin_client')
        try:
            self.name = self._session.find_node(node, discovery_s)
            self._questions = QuestionClient(self._session, self.name)
        except BaseException:
            self._session.close()
            raise
        self.rules = NodeRules(self._session, self.name, timeout_s)
        self.memory = RobotMemory(self._session, memory, timeout_s)

    def close(self) -> None:
        """Leaves the graph. Questions that are not answered are cancelled; whatever still waits
        ends with RequestCancelled or Inactive.
        """
        if not self._is_closed:
            self._is_closed = True
            with suppress(Inactive):  # the session has ended by itself
                self._questions.give_up(GIVE_UP_S)
            self._session.close()

    def run(self, call: Callable[[], Made], given_up: threading.Event) -> Made:
        """Makes a call on this thread, which ends with RequestCancelled when `given_up` is set."""
        return self._session.run(call, given_up)

    def __enter__(self) -> Penguin:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- questions --------------------------------------------------------------------------------

    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Asks and returns the answer. The options are those of AskOptions."""
        asked, timeout_s = asked_question(question, options)
        return checked_answer(self._questions.ask(asked, _nothing, timeout_s or self._timeout_s))

    def stream(self, question: str, **options: Unpack[AskOptions]) -> AnswerStream:
        """Asks and returns an iterator over the pieces of the answer, which has the whole answer
        after its end.
        """
        asked, timeout_s = asked_question(question, options)
        wait_s = timeout_s or self._timeout_s
        begin = partial(self._questions.begin, asked, timeout_s=wait_s)
        return AnswerStream(self._session, lambda on_text: begin(on_text=on_text), wait_s)

    def describe(self, camera: str = '') -> Answer:
        """Has the node describe what a camera shows now."""
        return self.ask(CaptionConfig().prompt, camera=camera)

    def conversation(self) -> Conversation:
        """Returns a conversation, in which later questions see earlier ones and their frames."""
        return Conversation(Chat(self._questions, self._timeout_s))

    # --- what it tells by itself ------------------------------------------------------------------

    def watch(self, *, seconds: float = math.inf) -> MessageStream[Caption]:
        """Returns an iterator over captions as they come, for so many seconds."""
        from penguin_msgs.msg import Caption as CaptionMessage

        topic = f'{self.name}/caption'
        return MessageStream(self._session, CaptionMessage, topic, caption_of, seconds)

    def newest_caption(self) -> Caption:
        """Returns the newest caption; DeadlineExceeded when there is none."""
        from penguin_msgs.msg import Caption as CaptionMessage

        return caption_of(self._latched(CaptionMessage, 'last_caption'))

    def status(self) -> dict[str, Any]:
        """Returns the node's status, the fields of penguin_msgs/Status; cameras are among them."""
        from penguin_msgs.msg import Status

        fields: dict[str, Any] = message_dict(self._latched(Status, 'status'))
        return fields

    def picture(self, camera: str = '', *, longer_side: int = 640) -> bytes:
        """Returns what a camera shows now, as JPEG; '' is the first camera."""
        from penguin_ros.ros.client.pictures import newest_jpeg

        cameras = {each['name']: each['topic'] for each in self.status()['cameras']}
        topic = cameras.get(camera) if camera else next(iter(cameras.values()), None)
        if topic is None:
            raise UnknownCamera(f'no camera is called {camera!r}', f'there are {list(cameras)}')
        return newest_jpeg(self._session, topic, longer_side, min(NEWEST_S, self._timeout_s))

    def recall(self, words: str = '', **filters: Any) -> tuple[Memory, ...]:
        """Returns what a memory node remembers; the filters are those of `memory.recall`."""
        return self.memory.recall(words, **filters)

    def _latched(self, kind: type, topic: str) -> Any:
        """Returns the newest message of a topic that keeps it."""
        from rclpy.qos import DurabilityPolicy, QoSProfile

        session, name = self._session, f'{self.name}/{topic}'
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        came: list[Any] = []
        subscription = session.do(
            lambda: session.node.create_subscription(kind, name, came.append, latched)
        )
        try:
            if not session.spin_until(lambda: bool(came), min(NEWEST_S, self._timeout_s)):
                why = 'the node has published none yet'
                raise DeadlineExceeded(f'nothing came on {name}', why, 'Type: penguin doctor')
        finally:
            session.do(lambda: session.node.destroy_subscription(subscription))
        return came[-1]


class Conversation:
    """Questions of which later ones see the earlier; as a context manager it is forgotten at its
    end.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @property
    def id(self) -> str:
        """Returns the node's id of it, '' before the first answer."""
        return self._chat.conversation

    def ask(
        self,
        question: str,
        on_text: Callable[[str], None] | None = None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Asks the next question; `on_text` gets the whole text so far, on another thread. Without
        a camera, an interval or images it is about what was shown before.
        """
        asked, _ = asked_question(question, options)
        return checked_answer(self._chat.ask(asked, on_text or _nothing))

    def forget(self) -> None:
        """Has the node forget it."""
        self._chat.forget()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.forget()


def _nothing(text: str) -> None:
    """Takes a text of which nobody wants to know."""
