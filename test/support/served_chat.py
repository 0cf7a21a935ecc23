# SPDX-License-Identifier: Apache-2.0
"""A served engine on a port of the loopback, in a thread of its own, over a LivePipeline."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from support.encoded_images import encoded
from support.live_pipeline import LivePipeline
from support.stepped_jobs import LIVENESS_SECONDS

from penguin_ros.frame import Image
from penguin_ros.http_site.site import site_of
from penguin_ros.serving.chat_service import ChatService, ServiceLimits
from penguin_ros.serving.engine import ServedEngine
from penguin_ros.serving.keys import ApiKeys
from penguin_ros.serving.server import ChatServer, Door

KEY = 'a-key-for-tests-only'


class ServedChat:
    """Serves from `with` to its end; `live` is the pipeline behind it."""

    def __init__(
        self,
        checkpoint: Path,
        *,
        keys: tuple[str, ...] = (),
        limits: ServiceLimits | None = None,
        text: str | None = None,
        is_loaded: bool = True,
        **settings: Any,
    ) -> None:
        self.live = LivePipeline(checkpoint, text=text, **settings)
        self._keys = ApiKeys(keys)
        self._limits = limits or ServiceLimits()
        self._is_loaded = is_loaded
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='served chat')

    def __enter__(self) -> ServedChat:
        self._thread.start()
        assert self._ready.wait(LIVENESS_SECONDS)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.live.gate.open()
        self._stop.set()
        self._thread.join(LIVENESS_SECONDS)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}/v1'

    @property
    def model(self) -> str:
        return self.service.model_name

    def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """Posts a body, JSON or bytes, and returns status and JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._fetch('/v1/chat/completions', content, headers)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        return self._fetch(path, None, headers)

    def ask(self, *parts: Any, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Asks with one message of the user."""
        content = parts[0] if parts and isinstance(parts[0], str) else list(parts)
        messages = [{'role': 'user', 'content': content}]
        return self.post({'model': self.model, 'messages': messages, **fields})

    def _fetch(
        self, path: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        given = {name.replace('_', '-'): value for name, value in headers.items()}
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}',
            content,
            {'Content-Type': 'application/json', **given},
        )
        try:
            with urllib.request.urlopen(request, timeout=LIVENESS_SECONDS) as response:
                return response.status, json.loads(response.read() or '{}')
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or '{}')

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        engine = ServedEngine(self.live.config, self.live.pipeline)
        self.service = ChatService(engine, self._limits)
        self.port = await free_port()
        door = Door(self._keys, site_of('127.0.0.1', self.port))
        runner = ChatServer(self.service, door).runner()
        await runner.setup()
        watch = asyncio.create_task(engine.watch())
        try:
            await web.TCPSite(runner, '127.0.0.1', self.port).start()
            if self._is_loaded:
                await engine.open()
            self._ready.set()
            while not self._stop.is_set():
                await asyncio.sleep(0.02)
        finally:
            watch.cancel()
            await engine.close()
            await runner.cleanup()
            self.service.close()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until `condition` holds, with a deadline."""
    end = time.monotonic() + LIVENESS_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


async def free_port() -> int:
    listener = await asyncio.get_running_loop().create_server(asyncio.Protocol, '127.0.0.1', 0)
    port: int = listener.sockets[0].getsockname()[1]
    listener.close()
    return port


def picture(level: int, size: tuple[int, int] = (56, 84)) -> Image:
    return np.full((*size, 3), level, np.uint8)


def base64_of(image: Image) -> str:
    return base64.b64encode(encoded(image).content).decode()


def image_part(image: Image | None, uuid: str = '') -> dict[str, Any]:
    """A part of a message that shows one picture."""
    url = None if image is None else {'url': f'data:image/png;base64,{base64_of(image)}'}
    return {'type': 'image_url', 'image_url': url, **({'uuid': uuid} if uuid else {})}


def text_part(text: str) -> dict[str, Any]:
    return {'type': 'text', 'text': text}
