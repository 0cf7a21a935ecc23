# SPDX-License-Identifier: Apache-2.0
"""A server that speaks OpenAI's chat completions, with whatever fault a test asks for. It listens
on loopback, on a thread of its own, and notes what it is asked.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

TEXT = 'A bear walks over the ice.'
DONE = b'data: [DONE]\n\n'
USAGE = {'prompt_tokens': 100, 'completion_tokens': 7}
START_SECONDS = 20.0


class StandInServer:
    """`fault` names what goes wrong with completions: status-500, status-429, truncated, no-end,
    reset, stall, stall-after-one, not-json, not-sse, no-choices, other-model, huge, error-event,
    aborted, forgetful; '' for none. `dialect`: penguin, vllm or plain. `key`: the one that is asked
    for. `usage`: whether it counts tokens always, if-asked, or refuses-to.
    """

    def __init__(
        self,
        dialect: str = 'plain',
        fault: str = '',
        model: str = 'stand-in',
        key: str = '',
        port: int = 0,
        host: str = '127.0.0.1',
        tls: ssl.SSLContext | None = None,
        piece_seconds: float = 0.0,
        usage: str = 'always',
    ) -> None:
        self.dialect, self.fault, self.model, self.key = dialect, fault, model, key
        self.text = TEXT
        self.health = 200
        self.retry_after = '0.1'
        self.piece_seconds = piece_seconds
        self.usage = usage
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.checks = 0
        self.cancelled = 0
        self.kept: set[str] = set()
        self.port, self.host = port, host
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._released = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(START_SECONDS)

    @property
    def url(self) -> str:
        return f'http{"s" if self._tls else ""}://{self.host}:{self.port}'

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> StandInServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_SECONDS)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_get('/health', self._health)
        application.router.add_get('/ready', self._health)
        application.router.add_get('/v1/models', self._models)
        application.router.add_post('/v1/chat/completions', self._completions)
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, ssl_context=self._tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._stop.wait()
        self._released.set()
        await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        self.checks += 1
        return web.Response(status=self.health)

    async def _models(self, request: web.Request) -> web.Response:
        if not self._has_key(request):
            return _error(401, 'invalid_api_key')
        entry: dict[str, Any] = {'id': self.model, 'object': 'model', 'owned_by': self.dialect}
        if self.dialect == 'penguin':
            entry['penguin'] = {'dialect': 1}
        return web.json_response({'object': 'list', 'data': [entry]})

    def _has_key(self, request: web.Request) -> bool:
        return not self.key or request.headers.get('Authorization') == f'Bearer {self.key}'

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.headers.append(dict(request.headers))
        if not self._has_key(request):
            return _error(401, 'invalid_api_key')
        self.bodies.append(body)
        unknown = self._unknown_uuids(body)
        if unknown or self.fault == 'forgetful':
            return _error(400, 'unknown_uuid', unknown_uuids=unknown)
        if self.fault.startswith('status-'):
            headers = {'Retry-After': self.retry_after} if self.fault == 'status-429' else {}
            return _error(int(self.fault[7:]), 'fault', headers)
        if self.usage == 'refuses-to' and 'stream_options' in body:
            return _error(422, 'unexpected_field')
        if self.fault == 'not-sse':
            return web.Response(text='<html>busy</html>', content_type='text/html')
        self.said = _typed(body, self.fault)
        is_counted = self.usage == 'if-asked' and 'stream_options' in body
        return await self._streamed(request, self.said, is_counted)

    async def _streamed(
        self, request: web.Request, said: dict[str, Any], is_counted: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={'Content-Type': 'text/event-stream'})
        await response.prepare(request)
        try:
            async for event in self._events(request, said):
                if event == DONE and is_counted:
                    counts = {'model': self.model, 'choices': [], 'usage': USAGE}
                    await response.write(f'data: {json.dumps(counts)}\n\n'.encode())
                await response.write(event)
        except (ConnectionResetError, asyncio.CancelledError):
            self.cancelled += 1
            raise
        return response

    async def _events(self, request: web.Request, said: dict[str, Any]) -> AsyncIterator[bytes]:
        fault, text = self.fault, said.get('text', self.text)
        if fault == 'stall':
            await self._held()
        if fault == 'not-json':
            yield b'data: {"choices": [{"delta"\n\n'
        if fault == 'no-choices':
            yield b'data: {"id": 1}\n\n'
        if fault == 'huge':
            for _ in range(40):
                yield b'data: ' + b'x' * 100_000
        for number, word in enumerate(text.split(' ')):
            yield self._chunk({'content': word if not number else f' {word}'})
            if fault == 'stall-after-one':
                await self._held()
            if fault == 'reset':
                await asyncio.sleep(0.2)  # a reset overtakes what is not read yet
                request.transport.abort()
                raise ConnectionResetError
            if fault == 'truncated' and number == 1:
                yield b'data: {"choices": [{"del'
                return
            if fault == 'error-event' and number == 1:
                yield b'data: {"error": {"message": "out of memory"}}\n\n'
                return
            await asyncio.sleep(self.piece_seconds)
        if fault == 'no-end':
            return
        yield self._chunk({}, 'abort' if fault == 'aborted' else 'stop', said)
        yield DONE

    async def _held(self) -> None:
        await self._released.wait()
        raise ConnectionResetError

    def _chunk(
        self, delta: dict[str, Any], reason: str | None = None, said: dict[str, Any] | None = None
    ) -> bytes:
        model = 'another' if self.fault == 'other-model' else self.model
        choice = {'index': 0, 'delta': delta, 'finish_reason': reason}
        chunk: dict[str, Any] = {'object': 'chat.completion.chunk', 'model': model}
        chunk['choices'] = [choice]
        if reason:
            if self.usage == 'always':
                chunk['usage'] = USAGE
            if self.dialect == 'penguin':
                chunk['penguin'] = {
                    **(said or {}),
                    'evidence': {
                        'model_digest': 'd' * 64,
                        'backend': 'onnxruntime',
                        'precision': 'float32',
                        'stop_reason': 'STOP_TOKEN',
                        'stats': {'prompt_tokens': 100, 'visual_tokens': 60, 'generated_tokens': 7},
                    },
                }
        return f'data: {json.dumps(chunk)}\n\n'.encode()

    def _unknown_uuids(self, body: dict[str, Any]) -> list[str]:
        unknown = []
        for part in body['messages'][-1]['content']:
            pictures = part.get('penguin_clip', {}).get('frames', ())
            for picture in pictures:
                if 'image' in picture:
                    self.kept.add(picture['uuid'])
                elif picture['uuid'] not in self.kept:
                    unknown.append(picture['uuid'])
        return unknown


def _typed(body: dict[str, Any], fault: str) -> dict[str, Any]:
    """What the dialect penguin adds to an answer that has a form: the first choice, or {"a": 1}."""
    choices = body.get('penguin', {}).get('choices', [])
    if choices:
        share = 1.0 / (len(choices) + 1)
        chosen = {
            'choice': 'another' if fault == 'no-choice' else choices[0],
            'choices': choices,
            'probabilities': [2 * share, *[share] * (len(choices) - 1)],
            'cannot_tell': 0.1,
            'is_cannot_tell': False,
            'other_mass': 0.05,
        }
        return {'text': choices[0], 'chosen': chosen, 'confidence': 2 * share}
    if 'response_format' in body:
        given = '{"a": ' if fault == 'bad-json' else '{"a": 1}'
        return {'text': given, 'json': given, 'confidence': 0.5}
    return {}


def _error(
    status: int, code: str, headers: dict[str, str] | None = None, **facts: Any
) -> web.Response:
    error = {'message': f'{code} of the stand-in', 'type': 'error', 'code': code, **facts}
    return web.json_response({'error': error}, status=status, headers=headers)


def closed_port() -> int:
    """A port of this machine on which nothing listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def waited(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Returns the first true value of the condition."""
    import time

    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, 'not in time'
        time.sleep(0.005)
    return value


if __name__ == '__main__':  # HOST PORT PIECE_SECONDS: serves until its standard input ends
    import sys

    with StandInServer(
        'penguin', host=sys.argv[1], port=int(sys.argv[2]), piece_seconds=float(sys.argv[3])
    ):
        sys.stdin.read()
