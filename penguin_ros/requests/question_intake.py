# SPDX-License-Identifier: Apache-2.0
"""Takes a question: checks it, finds its conversation, and gathers what has to be prepared before
the worker may start it. Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from penguin_ros.config import PenguinConfig
from penguin_ros.request import Answer, Request
from penguin_ros.requests.conversation import Conversations
from penguin_ros.requests.conversation_turn import ConversationTurn
from penguin_ros.requests.images import RequestImages
from penguin_ros.requests.loaded_model import LoadedModel
from penguin_ros.requests.preparation import Preparable
from penguin_ros.requests.typed_answer import RequestSchema
from penguin_ros.requests.validation import (
    checked_forgetting,
    checked_request,
    is_about_what_was_shown,
)
from penguin_ros.window.camera import Camera


@dataclass(frozen=True, eq=False)
class TakenQuestion:
    """A complete request with what belongs to it. `camera`: the one to look at; without it and
    without `images` the question is about what its conversation has shown before, or about words.
    """

    request: Request
    camera: Camera | None = None
    images: RequestImages | None = None
    schema: RequestSchema | None = None
    conversation: ConversationTurn | None = None

    @property
    def preparations(self) -> tuple[Preparable, ...]:
        """What is to be prepared before it can be started."""
        return tuple(thing for thing in (self.images, self.schema) if thing is not None)


class QuestionIntake:
    """Takes questions about some cameras; the `conversations` are its own."""

    def __init__(self, cameras: Mapping[str, Camera], steady_ns: Callable[[], int]) -> None:
        self.conversations = Conversations(steady_ns)
        self._cameras = cameras

    def take(
        self, request: Request, config: PenguinConfig, loaded: Callable[[], LoadedModel | None]
    ) -> TakenQuestion:
        """Returns the question as it can be answered; raises the PenguinError that says what is
        wrong with it.
        """
        complete = checked_request(request, config, tuple(self._cameras))
        if complete.dialogue:
            return TakenQuestion(complete, schema=_schema(complete, loaded))
        conversation = None
        if request.conversation:
            found = self.conversations.begin_or_find(request.conversation, config.question)
            conversation = ConversationTurn(self.conversations, found, config.question)
            if is_about_what_was_shown(request):
                complete = replace(complete, camera=found.said.camera)
                schema = _schema(complete, loaded)
                return TakenQuestion(complete, schema=schema, conversation=conversation)
        camera = self._cameras[complete.camera] if complete.camera else None
        if complete.interval is not None and camera is not None:
            camera.check_interval(complete.interval)
        images = None
        if request.images:
            images = RequestImages(request.images, config.buffer, request.image_stamps_ns)
        return TakenQuestion(complete, camera, images, _schema(complete, loaded), conversation)

    def forget_at_once(self, request: Request, config: PenguinConfig) -> Answer | None:
        """Forgets the conversation of a request that asks for nothing else, and returns its empty
        answer; None for any other request.
        """
        if not request.forgets_conversation or request.text.strip():
            return None
        complete = checked_forgetting(request)
        self.conversations.forget(complete.conversation, config.question)
        return Answer(complete.id, '', '', '')


def _schema(request: Request, loaded: Callable[[], LoadedModel | None]) -> RequestSchema | None:
    """Returns the schema to be compiled; None where there is none, or no model here to keep it."""
    model = loaded() if request.json_schema else None
    return RequestSchema(request.json_schema, model) if model is not None else None
