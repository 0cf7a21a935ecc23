# SPDX-License-Identifier: Apache-2.0
"""Serves an engine until it is asked to stop: the process behind `penguin serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.http_site.secrets import check_pair, tls_of
from penguin_ros.http_site.site import is_loopback, site_of
from penguin_ros.pipeline import Pipeline
from penguin_ros.pipeline_status import ModelDescription
from penguin_ros.serving.chat_service import ChatService, ServiceLimits
from penguin_ros.serving.engine import ServedEngine
from penguin_ros.serving.keys import ENVIRONMENT, ApiKeys, keys_from

STOP_POLL_S = 0.1


@dataclass(frozen=True)
class ServeOptions:
    """How an engine is served. `model_name` is what clients call the model, '' for its own name;
    `names` are those of a reverse proxy; `drain_s`: how long answers under way may take when the
    server ends.
    """

    bind: str = '127.0.0.1'
    port: int = 8360
    names: tuple[str, ...] = ()
    model_name: str = ''
    key_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    limits: ServiceLimits = ServiceLimits()
    drain_s: float = 10.0


def checked_keys(options: ServeOptions) -> ApiKeys:
    """Returns the keys that clients need; SettingError where anybody could come in, or what is
    needed is missing.
    """
    check_pair(options.certificate, options.key)
    keys = keys_from(options.key_file)
    if not is_loopback(options.bind) and not keys:
        raise SettingError(
            f'{options.bind} can be reached from other machines',
            'without API keys anybody there could use the model',
            f'Give --api-key-file FILE, or set {ENVIRONMENT}',
        )
    return keys


def serve(
    config: PenguinConfig,
    options: ServeOptions,
    on_ready: Callable[[str, ModelDescription], None],
    should_stop: Callable[[], bool],
) -> None:
    """Serves until `should_stop`, which is asked several times per second; `on_ready` gets the
    address and the model when the first request can be answered. Raises SettingError, and what
    loading the model raises.
    """
    keys = checked_keys(options)
    asyncio.run(_serve(config, options, keys, on_ready, should_stop))


async def _serve(
    config: PenguinConfig,
    options: ServeOptions,
    keys: ApiKeys,
    on_ready: Callable[[str, ModelDescription], None],
    should_stop: Callable[[], bool],
) -> None:
    from aiohttp import web

    from penguin_ros.serving.server import ChatServer, Door

    engine = ServedEngine(config, Pipeline(config, (), now_ns=time.time_ns))
    service = ChatService(engine, options.limits, options.model_name)
    is_tls = options.certificate is not None
    site = site_of(options.bind, options.port, options.names, is_tls=is_tls)
    runner = ChatServer(service, Door(keys, site)).runner()
    await runner.setup()
    watch = asyncio.create_task(engine.watch())
    try:
        tls = tls_of(options.certificate, options.key)
        await web.TCPSite(runner, options.bind, options.port, ssl_context=tls).start()
        model = await engine.open()
        on_ready(_address(options), model)
        while not should_stop():
            await asyncio.sleep(STOP_POLL_S)
        await _drain(service, options.drain_s)
    except OSError as error:
        raise SettingError(
            f'{options.bind}:{options.port} cannot be served',
            str(error.strerror or error),
            'Choose another one with --port',
        ) from None
    finally:
        watch.cancel()
        await engine.close()
        await runner.cleanup()
        service.close()


async def _drain(service: ChatService, longest_s: float) -> None:
    """Takes no new requests, and waits for those under way."""
    service.is_draining = True
    end = time.monotonic() + longest_s
    while service.metrics.in_flight and time.monotonic() < end:
        await asyncio.sleep(STOP_POLL_S)


def _address(options: ServeOptions) -> str:
    scheme = 'http' if options.certificate is None else 'https'
    host = f'[{options.bind}]' if ':' in options.bind else options.bind
    return f'{scheme}://{host}:{options.port}/v1'
