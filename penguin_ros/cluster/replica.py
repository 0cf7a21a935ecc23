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
from penguin_ros.http_site.site import Denied, Site
from penguin_ros.pipeline import Pipeline
from penguin_ros.serving.chat_service import ChatService, Reply, ServiceLimits, refused
from penguin_ros.serving.engine import ServedEngine
from penguin_ros.serving.keys import ApiKeys
from penguin_ros.serving.refusals import Refusal, not_ready, queue_full

TRIES = 3
BODY_S = 30.0
MOST_DIGITS = 15
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
        try:
            self._service.check_room()
        except Refusal as refusal:
            reply = refused(refusal)
            yield Head(reply.status, dict(reply.headers), reply.body)
            return
        metrics = self._service.metrics
        metrics.in_flight += 1
        try:
            reply = await self._service.reply(body, client, session)
            if reply.stream is None:
                yield Head(reply.status, dict(reply.headers), reply.body)
                return
            async with aclosing(reply.stream) as chunks:
                yield Head(reply.status, dict(reply.headers), None)
                async for chunk in chunks:
                    yield chunk
        finally:
            metrics.in_flight -= 1

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
    """A request of HTTP as far as the gateway looks at it; header names in lower case. `chunks` is
    its body, which comes as it is read.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True)
class Entrance:
    """Who may come in, and how much they may bring. `site` counts where there are no keys.
    `longest_s`: how long replicas may take until they have said something, a replica that hangs or
    has no place for the request included.
    """

    keys: ApiKeys
    site: Site
    limits: ServiceLimits
    longest_s: float = 3600.0


class Gateway:
    """Lets in who may come in, and finds a replica. `call` asks one, `models` some replica for its
    models. `lost` and `full` are what a call raises whose replica is gone, or that is one too many.
    """

    def __init__(
        self,
        entrance: Entrance,
        call: Call,
        models: Callable[[], Any],
        lost: tuple[type[BaseException], ...],
        full: type[BaseException],
    ) -> None:
        self._keys = entrance.keys
        self._site = entrance.site
        self._limits = entrance.limits
        self._longest_s = entrance.longest_s
        self._call = call
        self._models = models
        self._lost = lost
        self._full = full

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
        if not self._keys:
            self._check_site(asked)
        if (asked.method, asked.path) == ('GET', '/v1/models'):
            return Reply(200, json.dumps(await self._models()).encode())
        if asked.path != '/v1/chat/completions':
            raise Refusal(404, 'unknown_url', f'there is nothing at {asked.path}')
        if asked.method != 'POST':
            raise Refusal(405, 'method_not_allowed', 'send POST')
        if asked.headers.get('content-type', '').split(';')[0].strip() != 'application/json':
            raise Refusal(415, 'unsupported_media_type', 'send Content-Type: application/json')
        try:
            body = await asyncio.wait_for(self._body(asked), BODY_S)
        except asyncio.TimeoutError:
            raise Refusal(408, 'body_too_slow', f'the body took longer than {BODY_S:g} s') from None
        session = asked.headers.get(SESSION_HEADER, '')[:256] or session_in(body)
        return await self._asked(body, client, session)

    async def _body(self, asked: Asked) -> bytes:
        """Reads as much as is taken; nothing of a body that is said to be larger."""
        most = self._limits.body_bytes
        said = asked.headers.get('content-length', '')
        body = bytearray()
        is_too_much = said.isdecimal() and (len(said) > MOST_DIGITS or int(said) > most)
        if not is_too_much:
            async for chunk in asked.chunks:
                body += chunk
                if len(body) > most:
                    break
            else:
                return bytes(body)
        raise Refusal(413, 'request_too_large', f'{most} bytes are taken')

    def _check_site(self, asked: Asked) -> None:
        """Keeps pages of other sites out, in a browser of this machine."""
        try:
            self._site.check_host(asked.headers.get('host'))
            if 'origin' in asked.headers:
                self._site.check_origin(asked.headers['origin'])
        except Denied as denied:
            raise Refusal(denied.status, 'denied', denied.why) from None

    async def _asked(self, body: bytes, client: str, session: str) -> Reply:
        """Asks replicas until one has answered with a head."""
        why, end_s = '', time.monotonic() + self._longest_s
        for _ in range(TRIES):
            parts = self._call(body, client, session)
            try:
                head = await _next(parts, end_s - time.monotonic())
            except self._full:
                raise queue_full('as many requests wait as are let wait') from None
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
            while (chunk := await _next(parts, self._longest_s)) is not None:
                assert isinstance(chunk, bytes)
                yield chunk
            return
        except Refusal as silent:
            refusal = silent
        except self._lost as error:
            refusal = Refusal(
                503,
                'replica_lost',
                f'the engine was lost in the middle of the answer: {type(error).__name__}',
            )
        yield b'data: ' + json.dumps(refusal.body).encode() + b'\n\n'


async def _next(parts: AsyncIterator[Part], longest_s: float) -> Part | None:
    """Returns the next part, None at the end; the Refusal of one that does not come. A replica that
    hangs is replaced only when Ray has noticed.
    """
    try:
        return await asyncio.wait_for(anext(parts, None), max(0.0, longest_s))
    except asyncio.TimeoutError:
        raise Refusal(
            504,
            'deadline_exceeded',
            f'no replica has said anything for {max(0.0, longest_s):.0f} s',
            headers={'x-should-retry': 'false'},
        ) from None
