# SPDX-License-Identifier: Apache-2.0
"""The service over HTTP, with aiohttp.

    POST /v1/chat/completions   an answer, or a stream of its pieces
    GET  /v1/models             what is served; also /v1/models/NAME
    GET  /health                200 while the process can serve; needs no key
    GET  /ready                 200 while the model is loaded and requests are taken; needs no key
    GET  /metrics               counts and times for Prometheus

A client that goes away ends its request. One that does not send its body, or does not read its
answer, is given up after a while.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from penguin_ros.errors import PenguinError
from penguin_ros.http_site.site import Denied, Site
from penguin_ros.serving.chat_service import ChatService, Reply, refused
from penguin_ros.serving.keys import ApiKeys
from penguin_ros.serving.metrics import CONTENT_TYPE
from penguin_ros.serving.refusals import Refusal, refusal_of

SESSION_HEADER = 'X-Session-Id'
OPEN_PATHS = ('/health', '/ready')
GONE = 499
POLL_S = 0.1
LINGER_S = 10.0
"""So long the rest of a body is still taken after its refusal: who is cut off while it sends finds
a reset connection, and not the refusal.
"""


@dataclass(frozen=True)
class Door:
    """Who may come in, and how long a slow client is waited for. `site` is checked where there are
    no keys: a page in somebody's browser could ask otherwise.
    """

    keys: ApiKeys
    site: Site
    body_s: float = 30.0
    write_s: float = 30.0


class ChatServer:
    """The application of aiohttp; made and used on the thread of its loop."""

    def __init__(self, service: ChatService, door: Door) -> None:
        self._service = service
        self._door = door

    def runner(self) -> web.AppRunner:
        """Returns what serves it; no log of requests."""
        return web.AppRunner(self._application(), access_log=None, lingering_time=LINGER_S)

    def _application(self) -> web.Application:
        body_bytes = self._service.limits.body_bytes
        app = web.Application(middlewares=[self._guard], client_max_size=body_bytes)
        app.router.add_post('/v1/chat/completions', self._chat)
        app.router.add_get('/v1/models', self._models, allow_head=False)
        app.router.add_get('/v1/models/{name:.+}', self._model, allow_head=False)
        app.router.add_get('/health', self._health, allow_head=False)
        app.router.add_get('/ready', self._ready, allow_head=False)
        app.router.add_get('/metrics', self._metrics, allow_head=False)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Lets in who may come in, and says in the protocol's form what went wrong."""
        try:
            self._check(request)
            return await handler(request)
        except Refusal as refusal:
            return self._refused(refusal)
        except PenguinError as error:
            return self._refused(refusal_of(error))
        except Denied as denied:
            return self._refused(Refusal(denied.status, 'denied', denied.why))
        except web.HTTPException as error:
            codes = {404: 'unknown_url', 405: 'method_not_allowed', 413: 'request_too_large'}
            code = codes.get(error.status, 'invalid_request')
            return self._refused(Refusal(error.status, code, error.reason))
        except Exception as error:  # a fault of this server: the client still gets what it can read
            logging.getLogger('penguin_ros').error('a request failed', exc_info=error)
            return self._refused(Refusal(500, 'server_failed', 'the server failed; see its log'))

    def _check(self, request: web.Request) -> None:
        if request.path in OPEN_PATHS:
            return
        if not self._door.keys:
            self._door.site.check_host(request.headers.get('Host'))
            if 'Origin' in request.headers:
                self._door.site.check_origin(request.headers['Origin'])

    def _client(self, request: web.Request) -> str:
        return self._door.keys.client(request.headers.get('Authorization'))

    def _refused(self, refusal: Refusal) -> web.Response:
        self._service.metrics.requests[str(refusal.status)] += 1
        return _response(refused(refusal))

    # --- answers ----------------------------------------------------------------------------------

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        client = self._client(request)
        self._service.check_room()
        metrics = self._service.metrics
        metrics.in_flight += 1
        try:
            body = await self._body(request)
            session = request.headers.get(SESSION_HEADER, '')[:256]
            return await self._while_there(request, self._answer(request, body, client, session))
        finally:
            metrics.in_flight -= 1

    async def _body(self, request: web.Request) -> bytes:
        if request.content_type != 'application/json':
            raise Refusal(415, 'unsupported_media_type', 'send Content-Type: application/json')
        if (request.content_length or 0) > self._service.limits.body_bytes:
            raise web.HTTPRequestEntityTooLarge(
                self._service.limits.body_bytes, request.content_length or 0
            )
        try:
            return await asyncio.wait_for(request.read(), self._door.body_s)
        except asyncio.TimeoutError:
            raise Refusal(
                408, 'body_too_slow', f'the body did not come within {self._door.body_s:g} s'
            ) from None

    async def _answer(
        self, request: web.Request, body: bytes, client: str, session: str
    ) -> web.StreamResponse:
        reply = await self._service.reply(body, client, session)
        if reply.stream is None:
            self._service.metrics.requests[str(reply.status)] += 1
            return _response(reply)
        response = web.StreamResponse(
            headers={
                'Content-Type': 'text/event-stream; charset=utf-8',
                'Cache-Control': 'no-store',
            }
        )
        async with aclosing(reply.stream) as chunks:
            await response.prepare(request)
            async for chunk in chunks:
                await asyncio.wait_for(response.write(chunk), self._door.write_s)
            await response.write_eof()
        self._service.metrics.requests['200'] += 1
        return response

    async def _while_there(
        self, request: web.Request, answering: Awaitable[web.StreamResponse]
    ) -> web.StreamResponse:
        """Waits for the answer, and ends it when the client has gone or reads nothing."""
        task = asyncio.ensure_future(answering)
        try:
            while not task.done() and not _is_gone(request):
                await asyncio.wait({task}, timeout=POLL_S)
            if task.done():
                return task.result()
        except (ConnectionError, asyncio.TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        self._service.metrics.requests['disconnected'] += 1
        return web.Response(status=GONE)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self._client(request)
        return _json(self._service.models())

    async def _model(self, request: web.Request) -> web.StreamResponse:
        self._client(request)
        model = self._service.model()
        if request.match_info['name'] != model['id']:
            raise Refusal(404, 'model_not_found', 'there is no such model', 'model')
        return _json(model)

    # --- state ------------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.StreamResponse:
        failure = self._service.engine.status().worker.failure
        state = 'ok' if failure is None else 'failed'
        return _json({'status': state}, 200 if failure is None else 503)

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        if self._service.is_draining:
            return _json({'status': 'draining'}, 503)
        try:
            _ = self._service.engine.model
        except PenguinError:
            return _json({'status': 'loading'}, 503)
        return _json({'status': 'ready'})

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        self._client(request)
        text = self._service.metrics_text()
        return web.Response(body=text.encode(), headers={'Content-Type': CONTENT_TYPE})


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=reply.body,
        content_type='application/json',
        headers=dict(reply.headers),
    )


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(content).encode(), content_type='application/json'
    )
