# SPDX-License-Identifier: Apache-2.0
"""One turn of a conversation on its way: behind which earlier turns it is asked, and what the
conversation has come to when it is answered. Worker thread, apart from its making.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from penguin_ros.model_inputs import ModelInputs
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.dialogue import AnsweredTurn, Turn, without_oldest
from penguin_ros.question_config import QuestionConfig
from penguin_ros.request import FrameRef, Request
from penguin_ros.requests.conversation import (
    Conversation,
    Conversations,
    Said,
    unknown_conversation,
)
from penguin_ros.requests.evidence_builder import EvidenceBuilder


class ConversationTurn:
    """A turn of `conversation`, under the limits of the settings at its receipt."""

    def __init__(
        self, conversations: Conversations, conversation: Conversation, limits: QuestionConfig
    ) -> None:
        self._conversations = conversations
        self._conversation = conversation
        self._limits = limits
        self._earlier: list[AnsweredTurn] = []
        self._newest: Turn | None = None
        self._frames: tuple[FrameRef, ...] = ()
        self._answered: AnsweredTurn | None = None

    def inputs(
        self,
        turn: Turn,
        preprocessor: Preprocessor,
        max_tokens: int,
        evidence: EvidenceBuilder,
    ) -> ModelInputs:
        """Returns the inputs of `turn` behind as many earlier turns as `max_tokens` and the limits
        allow, and notes the frames of these; UnknownConversation when it was forgotten meanwhile.
        """
        said = self._conversation.said
        if self._conversation.is_forgotten:
            raise unknown_conversation()
        longest = min(self._limits.conversation_tokens, max_tokens)
        earlier, newest = list(said.turns), turn
        inputs = preprocessor.dialogue_inputs(earlier, newest)
        while earlier and len(inputs.prompt.token_ids) > longest:
            earlier, newest = without_oldest(earlier, newest)
            inputs = preprocessor.dialogue_inputs(earlier, newest)
        shown = len(inputs.frames) - len(turn.frames)
        of_earlier = said.frames[len(said.frames) - shown :]
        self._earlier, self._newest = earlier, newest
        self._frames = of_earlier + evidence.frames
        evidence.note_earlier(of_earlier, is_cut=len(earlier) < len(said.turns))
        return inputs

    def note_answer(self, text: str) -> Generator[None, None, None]:
        """Notes what was answered, and lets go of the images behind the turn's frames; yields after
        each.
        """
        assert self._newest is not None
        frames = []
        for frame in self._newest.frames:
            frames.append(frame.reduced())
            yield
        self._answered = AnsweredTurn(replace(self._newest, frames=tuple(frames)), text)

    def end(self, request: Request, is_whole: bool) -> str:
        """Ends the turn, which counts when it `is_whole`; returns the conversation's id, '' when
        there is none to go on with.
        """
        conversation = self._conversation
        if request.forgets_conversation:
            self._conversations.end(conversation)
            return ''
        if not is_whole or self._answered is None:
            return conversation.id if conversation.said.turns else ''
        said = Said((*self._earlier, self._answered), self._frames, request.camera)
        is_kept = self._conversations.keep(conversation, said, self._limits)
        return conversation.id if is_kept else ''
