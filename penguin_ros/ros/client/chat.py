# SPDX-License-Identifier: Apache-2.0
"""A conversation with a running node, one question after the other, and the conversation that
`penguin ask --follow` goes on with, which a file of this user remembers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from penguin_ros.request import NEW_CONVERSATION
from penguin_ros.ros.client.question_client import AskedQuestion, QuestionClient
from penguin_ros.user_cache import user_cache

MAX_ID_BYTES = 256


class Chat:
    """Asks questions of one conversation. `conversation` is its id, '' before the first answer."""

    def __init__(self, client: QuestionClient, timeout_s: float, conversation: str = '') -> None:
        self.conversation = conversation
        self._client = client
        self._timeout_s = timeout_s

    def ask(self, question: AskedQuestion, on_text: Callable[[str], None]) -> Any:
        """Asks the next question and returns the penguin_msgs/Answer; where the node no longer
        has the conversation, it begins a new one with this question.
        """
        from penguin_msgs.msg import ErrorCode

        answer = self._ask(question, on_text)
        if answer.error_code == ErrorCode.UNKNOWN_CONVERSATION:
            self.conversation = ''
            answer = self._ask(question, on_text)
        self.conversation = answer.conversation or self.conversation
        return answer

    def forget(self) -> None:
        """Has the node forget the conversation; harmless when it has."""
        if self.conversation:
            question = AskedQuestion('', conversation=self.conversation, forget_conversation=True)
            self._client.ask(question, lambda text: None, self._timeout_s)
        self.conversation = ''

    def _ask(self, question: AskedQuestion, on_text: Callable[[str], None]) -> Any:
        named = replace(question, conversation=self.conversation or NEW_CONVERSATION)
        return self._client.ask(named, on_text, self._timeout_s)


def kept_conversation(node_name: str) -> str:
    """Returns the id of the last conversation with a node, '' when none is kept."""
    with suppress(OSError):
        return _file(node_name).read_bytes()[:MAX_ID_BYTES].decode('utf-8', 'replace').strip()
    return ''


def keep_conversation(node_name: str, conversation: str) -> None:
    """Keeps the id of a conversation where only this user reads it; without such a place the next
    question begins a new one.
    """
    with suppress(OSError):
        path = _file(node_name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, 'w', encoding='utf-8') as file:
            file.write(conversation)


def _file(node_name: str) -> Path:
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    return user_cache('conversations') / f'{domain}{node_name.replace("/", "_")}'
