# SPDX-License-Identifier: Apache-2.0
"""Conversations: what was asked, shown and answered, kept so that a later question can mean it.

They are bounded in number, in age, and, where a turn is asked, in tokens. Their ids cannot be
guessed. Any thread.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from penguin_ros.errors import InvalidRequest, UnknownConversation
from penguin_ros.frame import NANOSECONDS
from penguin_ros.preprocessing.dialogue import AnsweredTurn
from penguin_ros.question_config import QuestionConfig
from penguin_ros.request import NEW_CONVERSATION, FrameRef

ID_BYTES = 16
"""128 random bits."""


@dataclass(frozen=True, eq=False)
class Said:
    """What a conversation holds: its turns, oldest first, the frames that they show, and the camera
    of the newest of these.
    """

    turns: tuple[AnsweredTurn, ...] = ()
    frames: tuple[FrameRef, ...] = ()
    camera: str = ''


@dataclass(eq=False)
class Conversation:
    """One conversation, from its first question on; it is kept once that is answered. `used_ns` of
    the steady clock; conversations of an older `epoch` are forgotten.
    """

    id: str
    epoch: int
    used_ns: int
    said: Said = Said()
    is_forgotten: bool = False


class Conversations:
    """Those of one pipeline."""

    def __init__(self, steady_ns: Callable[[], int]) -> None:
        self._steady_ns = steady_ns
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Conversation] = OrderedDict()
        self._epoch = 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def begin_or_find(self, name: str, limits: QuestionConfig) -> Conversation:
        """Begins a conversation for NEW_CONVERSATION, else returns the one with that id;
        UnknownConversation, and InvalidRequest when none may begin.
        """
        with self._lock:
            self._drop_old(limits)
            if name != NEW_CONVERSATION:
                return self._found(name)
            if not limits.conversations:
                raise InvalidRequest(
                    'conversations are off', 'question.conversations is 0', 'Ask without one'
                )
            return Conversation(secrets.token_urlsafe(ID_BYTES), self._epoch, self._steady_ns())

    def keep(self, conversation: Conversation, said: Said, limits: QuestionConfig) -> bool:
        """Keeps a conversation with what has been said by now; returns False when it was forgotten
        meanwhile.
        """
        with self._lock:
            if conversation.is_forgotten or conversation.epoch != self._epoch:
                return False
            conversation.said = said
            conversation.used_ns = self._steady_ns()
            self._kept[conversation.id] = conversation
            self._kept.move_to_end(conversation.id)
            while len(self._kept) > limits.conversations:
                self._drop(next(iter(self._kept)))
            return conversation.id in self._kept

    def forget(self, conversation_id: str, limits: QuestionConfig) -> None:
        """Forgets a conversation; UnknownConversation when there is none of that id."""
        with self._lock:
            self._drop_old(limits)
            self._drop(self._found(conversation_id).id)

    def end(self, conversation: Conversation) -> None:
        """Forgets a conversation; harmless when it is not kept."""
        with self._lock:
            conversation.is_forgotten = True
            if conversation.id in self._kept:
                self._drop(conversation.id)

    def forget_all(self) -> None:
        """Forgets every conversation, those whose first question is under way too."""
        with self._lock:
            self._epoch += 1
            for name in list(self._kept):
                self._drop(name)

    def _found(self, name: str) -> Conversation:
        if name not in self._kept:
            raise unknown_conversation()
        return self._kept[name]

    def _drop_old(self, limits: QuestionConfig) -> None:
        oldest_ns = self._steady_ns() - round(limits.conversation_age * NANOSECONDS)
        for name in [name for name, each in self._kept.items() if each.used_ns < oldest_ns]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        dropped = self._kept.pop(name)
        dropped.is_forgotten = True
        dropped.said = Said()


def unknown_conversation() -> UnknownConversation:
    """Returns the error for an id that nothing is kept under."""
    return UnknownConversation(
        'there is no conversation of that id',
        'it was never begun, it was forgotten, or it is too old (question.conversation_age)',
        f'Begin one: conversation: {NEW_CONVERSATION}',
    )
