# SPDX-License-Identifier: Apache-2.0
"""One chat completion from the bytes of its body to the bytes of its answer, whatever carries them.

The body is read and its pictures are decoded on threads beside the loop. A stream begins with the
first piece of text: what goes wrong before it is told by a status, what goes wrong after it by an
error in the stream, which then has no `[DONE]`.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.request import Answer, Request, TextPiece
from penguin_ros.serving.answers import Heading
from penguin_ros.serving.engine import Event, ServedEngine
from penguin_ros.serving.metrics import Metrics
from penguin_ros.serving.picture_store import PictureStore
from penguin_ros.serving.pictures import PictureLimits, PictureReader
from penguin_ros.serving.protocol import ChatRequest, chat_request
from penguin_ros.serving.refusals import Refusal, bad_request, not_ready, queue_full, refusal_of

DIALECT = 1
DECODERS = 2
DONE = b'data: [DONE]\n\n'


@dataclass(frozen=True)
class ServiceLimits:
    """What one server takes: `in_flight` requests at once, from their first byte to their last,
    bodies of `body_bytes`, and pictures kept by their uuid of `picture_cache_bytes`.
    """

    in_flight: int = 32
    body_bytes: int = 32 * 1024 * 1024
    picture_cache_bytes: int = 256 * 1024 * 1024


@dataclass(eq=False)
class Reply:
    """A status and what follows it: `body`, or a `stream` of events."""

    status: int
    body: bytes = b''
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes, None] | None = None


def refused(refusal: Refusal) -> Reply:
    """Returns the reply of a request that gets no answer."""
    return Reply(refusal.status, _json(refusal.body), refusal.headers)


class ChatService:
    """Answers chat completions with an engine; on the thread of one loop. `name` is what the model
    is called, by default its own name.
    """

    def __init__(self, engine: ServedEngine, limits: ServiceLimits, name: str = '') -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = Metrics()
        self.is_draining = False
        self._name = name
        self._created = int(time.time())
        self._store = PictureStore(limits.picture_cache_bytes)
        self._reader = PictureReader(self._store, PictureLimits(engine.config.buffer))
        self._pool = ThreadPoolExecutor(DECODERS, thread_name_prefix='penguin decoder')

    def close(self) -> None:
        """Lets the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def model_name(self) -> str:
        """What clients call the model; Inactive while there is none."""
        return self._name or self.engine.model.name

    def check_room(self) -> None:
        """Raises the Refusal of a request that would be too many, before its body is read."""
        if self.is_draining:
            raise not_ready('the server ends')
        try:
            _ = self.engine.model
        except PenguinError as error:
            raise refusal_of(error) from None
        if self.metrics.in_flight >= self.limits.in_flight:
            raise queue_full(f'{self.limits.in_flight} requests are under way')

    async def reply(self, body: bytes, client: str, session: str = '') -> Reply:
        """Answers one body; `client` is who sent it, `session` which requests belong together where
        the body does not say it.
        """
        started_ns = time.monotonic_ns()
        try:
            chat, request = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._read, body, client, session, started_ns
            )
            self._check_model(chat.model)
            events = self.engine.events(request)
            heading = Heading(f'chatcmpl-{uuid.uuid4().hex}', int(time.time()), self.model_name)
            if chat.is_streamed:
                return await self._streamed(chat, heading, events, started_ns)
            return await self._whole(heading, events, started_ns)
        except Refusal as refusal:
            return refused(refusal)
        except PenguinError as error:
            return refused(refusal_of(error))

    def models(self) -> dict[str, Any]:
        """Returns the list of what is served: one model."""
        return {'object': 'list', 'data': [self.model()]}

    def model(self) -> dict[str, Any]:
        """Returns what a client may want to know about the model; Inactive while there is none."""
        model = self.engine.model
        return {
            'id': self.model_name,
            'object': 'model',
            'created': self._created,
            'owned_by': 'penguin_ros',
            'max_model_len': model.max_length,
            'penguin': {
                'dialect': DIALECT,
                'model_name': model.name,
                'model_digest': model.digest,
                'backend': model.backend,
                'precision': model.precision,
                'max_visual_tokens': self.engine.config.visual.max_visual_tokens,
                'max_body_bytes': self.limits.body_bytes,
                'picture_cache_bytes': self.limits.picture_cache_bytes,
            },
        }

    def metrics_text(self) -> str:
        """Returns what Prometheus reads."""
        return self.metrics.text(self.engine.status(), self._store.counts())

    def _check_model(self, name: str) -> None:
        if name not in (self.model_name, self.engine.model.name):
            raise Refusal(
                404,
                'model_not_found',
                f'there is no model {name!r}, only {self.model_name!r}',
                'model',
            )

    def _read(
        self, body: bytes, client: str, session: str, started_ns: int
    ) -> tuple[ChatRequest, Request]:
        """Reads a body and decodes its pictures; on a thread of its own."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise bad_request(f'the body is no JSON: {error}', code='invalid_json') from None
        chat = chat_request(content)
        dialogue = self._reader.dialogue(chat.messages, client)
        longest_s = self.engine.config.question.deadline
        total_s = longest_s if chat.deadline_s is None else min(chat.deadline_s, longest_s)
        passed_ns = time.monotonic_ns() - started_ns
        return chat, Request(
            chat.request_id,
            dialogue[-1].text,
            chat.priority,
            chat.stream_name or session,
            max_tokens=chat.max_tokens,
            deadline_ns=max(1, round(total_s * NANOSECONDS) - passed_ns),
            choices=chat.choices,
            json_schema=chat.json_schema,
            wants_logprobs=chat.wants_logprobs,
            top_logprobs=chat.top_logprobs,
            dialogue=dialogue,
            sampling=chat.sampling,
        )

    async def _whole(
        self, heading: Heading, events: AsyncGenerator[Event, None], started_ns: int
    ) -> Reply:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Answer):
                    return Reply(200, _json(heading.completion(self._noted(event, started_ns))))
        raise AssertionError('an answer ends every request')

    async def _streamed(
        self,
        chat: ChatRequest,
        heading: Heading,
        events: AsyncGenerator[Event, None],
        started_ns: int,
    ) -> Reply:
        """Waits for the first event, which says whether there will be an answer."""
        try:
            first = await anext(events)
            if isinstance(first, Answer) and first.error is not None:
                self._noted(first, started_ns)
        except BaseException:
            await events.aclose()
            raise
        return Reply(200, stream=self._chunks(chat, heading, first, events, started_ns))

    async def _chunks(
        self,
        chat: ChatRequest,
        heading: Heading,
        first: Event,
        events: AsyncGenerator[Event, None],
        started_ns: int,
    ) -> AsyncGenerator[bytes, None]:
        shown = 0
        async with aclosing(events):
            yield _chunk(heading.beginning())
            async for event in _begun(first, events):
                if isinstance(event, TextPiece):
                    shown += len(event.logprobs)
                    yield _chunk(heading.piece(event.piece, event.logprobs))
                    continue
                try:
                    answer = self._noted(event, started_ns)
                except PenguinError as error:
                    yield _chunk(refusal_of(error).body)
                    return
                yield _chunk(heading.end(answer, answer.logprobs[shown:]))
                if chat.has_usage_chunk:
                    yield _chunk(heading.usage(answer))
                yield DONE

    def _noted(self, answer: Answer, started_ns: int) -> Answer:
        """Counts an answer; raises the error that it ended with."""
        self.metrics.note_answer(answer, (time.monotonic_ns() - started_ns) / NANOSECONDS)
        if answer.error is not None:
            raise answer.error
        return answer


async def _begun(first: Event, others: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    if isinstance(first, TextPiece):
        async for event in others:
            yield event


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(',', ':')).encode('utf-8', 'replace')


def _chunk(content: Any) -> bytes:
    return b'data: ' + _json(content) + b'\n\n'
