# SPDX-License-Identifier: Apache-2.0
"""One replica of a served engine, and the gateway before all of them; both are deployed by
`ray_serve`, and neither imports Ray.

The gateway checks keys and reads bodies; it holds no engine. A replica that dies before the first
piece of an answer costs nothing: the request goes to another one. After that the stream ends with
an error and without `[DONE]`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from penguin_ros.cluster.sessions import session_in
from penguin_ros.config import PenguinConfig
from penguin_ros.pipeline import Pipeline
from penguin_ros.serving.chat_service import ChatService, Reply, ServiceLimits, refused
from penguin_ros.serving.engine import ServedEngine
from penguin_ros.serving.keys import ApiKeys
from penguin_ros.serving.refusals import Refusal, not_ready

TRIES = 3
SESSION_HEADER = 'x-session-id'


@dataclass(frozen=True)
class Head:
    """What a replica says first: a status, and the whole body unless a stream follows."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


Part = Head | bytes
Call = Callable[[bytes, str, str], AsyncIterator[Part]]
"""Asks some replica: body, client, session."""


class EngineReplica:
    """An engine with its own caches, in a process of its own."""

    def __init__(self, config: PenguinConfig, limits: ServiceLimits, model_name: str) -> None:
        self._engine = ServedEngine(config, Pipeline(config, (), now_ns=time.time_ns))
        self._engine.load()
        self._service = ChatService(self._engine, limits, model_name)
        self._watch: asyncio.Task[None] | None = None

    async def answer(self, body: bytes, client: str, session: str) -> AsyncGenerator[Part, None]:
        """Yields the head, then the chunks of a stream."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._engine.watch())
        metrics = self._service.metrics
        metrics.in_flight += 1
        try:
            reply = await self._reply(body, client, session)
            if reply.stream is None:
                yield Head(reply.status, dict(reply.headers), reply.body)
                return
            async with aclosing(reply.stream) as chunks:
                yield Head(reply.status, dict(reply.headers), None)
                async for chunk in chunks:
                    yield chunk
        finally:
            metrics.in_flight -= 1

    async def _reply(self, body: bytes, client: str, session: str) -> Reply:
        try:
            self._service.check_room()
        except Refusal as refusal:
            return refused(refusal)
        return await self._service.reply(body, client, session)

    async def models(self) -> dict[str, Any]:
        """Returns the list of what is served."""
        return self._service.models()

    def check_health(self) -> None:
        """Raises where the engine is lost, so that Ray replaces this replica."""
        _ = self._engine.model

    def __del__(self) -> None:
        self._service.close()


@dataclass(frozen=True)
class Asked:
    """A request of HTTP as far as the gateway looks at it; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Gateway:
    """Lets in who may come in, and finds a replica. `call` asks one, `models` some replica for its
    models.
    """

    def __init__(
        self,
        keys: ApiKeys,
        limits: ServiceLimits,
        call: Call,
        models: Callable[[], Any],
        lost: tuple[type[BaseException], ...],
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._call = call
        self._models = models
        self._lost = lost

    async def reply(self, asked: Asked) -> Reply:
        """Answers one request."""
        try:
            return await self._reply(asked)
        except Refusal as refusal:
            return refused(refusal)

    async def _reply(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) in (('GET', '/health'), ('GET', '/ready')):
            return Reply(200, b'{"status": "ok"}')
        client = self._keys.client(asked.headers.get('authorization'))
        if (asked.method, asked.path) == ('GET', '/v1/models'):
            return Reply(200, json.dumps(await self._models()).encode())
        if asked.path != '/v1/chat/completions':
            raise Refusal(404, 'unknown_url', f'there is nothing at {asked.path}')
        if asked.method != 'POST':
            raise Refusal(405, 'method_not_allowed', 'send POST')
        if asked.headers.get('content-type', '').split(';')[0].strip() != 'application/json':
            raise Refusal(415, 'unsupported_media_type', 'send Content-Type: application/json')
        if len(asked.body) > self._limits.body_bytes:
            raise Refusal(413, 'request_too_large', f'{self._limits.body_bytes} bytes are taken')
        session = asked.headers.get(SESSION_HEADER, '')[:256] or session_in(asked.body)
        return await self._asked(asked.body, client, session)

    async def _asked(self, body: bytes, client: str, session: str) -> Reply:
        """Asks replicas until one has answered with a head."""
        why = ''
        for _ in range(TRIES):
            parts = self._call(body, client, session)
            try:
                head = await anext(parts)
            except self._lost as error:
                why = type(error).__name__
                continue
            assert isinstance(head, Head)
            if head.body is not None:
                return Reply(head.status, head.body, head.headers)
            return Reply(head.status, b'', head.headers, self._chunks(parts))
        raise not_ready(f'{TRIES} replicas were lost over this request: {why}')

    async def _chunks(self, parts: AsyncIterator[Part]) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in parts:
                assert isinstance(chunk, bytes)
                yield chunk
        except self._lost as error:
            refusal = Refusal(
                503,
                'replica_lost',
                f'the engine was lost in the middle of the answer: {type(error).__name__}',
            )
            yield b'data: ' + json.dumps(refusal.body).encode() + b'\n\n'
