# SPDX-License-Identifier: Apache-2.0
"""Serves the console until it is asked to stop: the process behind `penguin console`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from penguin_ros.errors import SettingError
from penguin_ros.http_site.secrets import check_pair, secret_in, tls_of
from penguin_ros.http_site.site import is_loopback, site_of
from penguin_ros.web_console.access import Doorkeeper
from penguin_ros.web_console.audit import AuditLog
from penguin_ros.web_console.door import Door
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.rate_limit import RateLimit

QUESTIONS_PER_S = 1.0
BURST = 10
MESSAGES_PER_S = 500
WAKE_S = 0.5
ANY_ADDRESS = ('0.0.0.0', '::')


@dataclass(frozen=True)
class ConsoleOptions:
    """How the console is served. `names` are those of a reverse proxy; `secret_file` holds a token
    that works again and again; without `certificate` and `key` there is no TLS.
    """

    bind: str = '127.0.0.1'
    port: int = 8350
    names: tuple[str, ...] = ()
    secret_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    is_read_only: bool = False
    audit: Path | None = None


def serve(
    options: ConsoleOptions, on_ready: Callable[[str], None], should_stop: Callable[[], bool]
) -> None:
    """Serves until `should_stop`, which is asked twice per second; `on_ready` gets every
    address that lets a browser in, each once. SettingError says what does not fit.
    """
    check(options)
    asyncio.run(_serve(options, on_ready, should_stop))


def check(options: ConsoleOptions) -> None:
    """Raises SettingError where others could come in, or what is needed is missing."""
    check_pair(options.certificate, options.key)
    if options.bind in ANY_ADDRESS and not options.names:
        raise SettingError(
            f'{options.bind} has no name',
            'browsers are let in only when they call the server by a name that it knows',
            'Give --name HOST, the name or the address that is typed in the browser',
        )
    if not is_loopback(options.bind) and options.certificate is None and not options.names:
        raise SettingError(
            f'{options.bind} can be reached from other machines',
            'without TLS everybody on the way reads the token and the pictures',
            'Give --tls-certificate and --tls-key, or --name HOST where a reverse proxy has them,'
            ' or go through ssh: ssh -L 8350:127.0.0.1:8350 ROBOT',
        )


async def _serve(
    options: ConsoleOptions, on_ready: Callable[[str], None], should_stop: Callable[[], bool]
) -> None:
    from penguin_ros.ros.console_node.ros_robot import RosRobot
    from penguin_ros.web_console.server import ConsoleServer

    hub = Hub(time.time)
    robot = RosRobot(hub, asyncio.get_running_loop())
    door = _door(options, on_ready)
    server = ConsoleServer(door, hub, robot)
    try:
        tls = tls_of(options.certificate, options.key)
        await server.start(options.bind, options.port, tls)
        robot.open()
        door.keeper.renew_token()
        while not should_stop():
            await asyncio.sleep(WAKE_S)
    except OSError as error:
        raise SettingError(
            f'{options.bind}:{options.port} cannot be served',
            str(error.strerror or error),
            'Choose another one with --port',
        ) from None
    finally:
        await server.stop()
        robot.close()


def _door(options: ConsoleOptions, on_ready: Callable[[str], None]) -> Door:
    secret = '' if options.secret_file is None else secret_in(options.secret_file)
    site = site_of(
        options.bind, options.port, options.names, is_tls=options.certificate is not None
    )
    return Door(
        site,
        Doorkeeper(lambda token: on_ready(_address(options, token)), time.monotonic, secret),
        RateLimit(QUESTIONS_PER_S, BURST, time.monotonic),
        RateLimit(MESSAGES_PER_S, 2 * MESSAGES_PER_S, time.monotonic),
        AuditLog(options.audit, _log, _now),
        options.is_read_only,
    )


def _address(options: ConsoleOptions, token: str) -> str:
    scheme = 'http' if options.certificate is None else 'https'
    host = f'[{options.bind}]' if ':' in options.bind else options.bind
    if not is_loopback(options.bind) and options.names:
        host = options.names[0]
    return f'{scheme}://{host}:{options.port}/login?token={token}'


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='milliseconds')


def _log(line: str) -> None:
    print(f'[audit {os.getpid()}] {line}', file=sys.stderr, flush=True)
