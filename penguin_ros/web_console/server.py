# SPDX-License-Identifier: Apache-2.0
"""HTTP and WebSockets: the page, the login, and one WebSocket for each browser.

    GET /login?token=…   becomes a cookie and leads to /
    GET /                the page, and its files
    GET /frame           a picture that an answer was based on
    GET /socket          everything else, as JSON in text messages; pictures in binary ones
    GET /health          for whoever started this; needs no cookie, says nothing

There is no other method, so no form of another site can change anything. aiohttp bounds the size of
headers; a body is never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from penguin_ros.http_site.site import Denied, Site
from penguin_ros.web_console.access import COOKIE, Doorkeeper
from penguin_ros.web_console.audit import AuditLog
from penguin_ros.web_console.commands import CHANGES, QUESTIONS, BadCommand, Command, parsed
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.rate_limit import RateLimit
from penguin_ros.web_console.robot import Fields, Picture, Refused, Robot
from penguin_ros.web_console.send_queue import ReaderTooSlow, SendQueue

MAX_BROWSERS = 64
MAX_MESSAGE = 256 * 1024
MAX_RUNNING = 16
HEARTBEAT_S = 15.0

HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
    'Permissions-Policy': 'camera=(), microphone=(), geolocation=()',
}
KINDS = {
    'html': 'text/html',
    'css': 'text/css',
    'js': 'text/javascript',
    'svg': 'image/svg+xml',
    'json': 'application/json',
}


@dataclass(frozen=True)
class Door:
    """What stands between a browser and the robot."""

    site: Site
    keeper: Doorkeeper
    questions: RateLimit
    audit: AuditLog
    is_read_only: bool = False


class ConsoleServer:
    """The application of aiohttp; made and used on the thread of its loop."""

    def __init__(self, door: Door, hub: Hub, robot: Robot) -> None:
        self._door = door
        self._hub = hub
        self._robot = robot
        self._sockets: set[web.WebSocketResponse] = set()
        self._page = {
            item.name: item.read_bytes()
            for item in (files('penguin_ros.web_console') / 'page').iterdir()
            if item.name.rpartition('.')[2] in KINDS
        }

    def runner(self) -> web.AppRunner:
        """Returns what serves it. No log of addresses, which carry tokens; a body that nobody reads
        ends the connection instead of being waited for.
        """
        return web.AppRunner(self._application(), access_log=None, lingering_time=0.0)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=1)
        app.router.add_get('/login', self._login, allow_head=False)
        app.router.add_get('/socket', self._socket, allow_head=False)
        app.router.add_get('/frame', self._frame, allow_head=False)
        app.router.add_get('/health', self._health, allow_head=False)
        app.router.add_get('/{name:[a-z_0-9.-]*}', self._file, allow_head=False)
        app.on_response_prepare.append(self._add_headers)
        app.on_shutdown.append(self._close)
        return app

    # --- the door ---------------------------------------------------------------------------------

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            self._door.site.check_host(request.headers.get('Host'))
            if request.path not in ('/login', '/health'):
                request['who'] = self._door.keeper.check_session(request.cookies.get(COOKIE))
            if request.body_exists:
                raise Denied(413, 'requests to this server have no body')
            return await handler(request)
        except Denied as denied:
            return web.Response(status=denied.status, text=f'{denied.why}\n')

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.pop('Server', None)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        wait = self._door.questions.wait_s(f'login/{request.remote}')
        if wait:
            raise Denied(429, f'too many tries; wait {wait:.0f} s')
        session = self._door.keeper.login(request.query.get('token', ''))
        response = web.Response(status=303, headers={'Location': '/'})
        response.set_cookie(
            COOKIE,
            session,
            httponly=True,
            samesite='Strict',
            secure=self._door.site.is_tls,
            path='/',
        )
        return response

    # --- files ------------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text='ok\n')

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info['name'] or 'index.html'
        content = self._page.get(name)
        if content is None:
            raise Denied(404, 'there is no such page')
        kind = KINDS[name.rpartition('.')[2]]
        return web.Response(body=content, content_type=kind, charset='utf-8')

    async def _frame(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        stamp = query.get('stamp', '')
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 20):
            raise Denied(400, 'stamp is in nanoseconds')
        try:
            jpeg = await self._robot.frame(
                query.get('node', ''), query.get('camera', ''), int(stamp)
            )
        except Refused as error:
            raise Denied(404, str(error)) from None
        return web.Response(body=jpeg, content_type='image/jpeg')

    # --- sockets ----------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._door.site.check_origin(request.headers.get('Origin'))
        if len(self._sockets) >= MAX_BROWSERS:
            raise Denied(503, f'{MAX_BROWSERS} browsers are connected already')
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE)
        self._sockets.add(socket)
        try:
            await socket.prepare(request)
            browser = Browser(socket, self._door, self._hub, self._robot)
            await browser.serve(request['who'], request.remote or '')
        finally:
            self._sockets.discard(socket)
        return socket

    async def _close(self, app: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b'the console ends')


class Browser:
    """One WebSocket: a sender, which empties the send queue, and tasks for what is asked."""

    def __init__(self, socket: web.WebSocketResponse, door: Door, hub: Hub, robot: Robot) -> None:
        self._socket = socket
        self._door = door
        self._hub = hub
        self._robot = robot
        self._send_queue = SendQueue()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._views: dict[tuple[str, str], Any] = {}
        self._is_overrun = False

    async def serve(self, who: str, address: str) -> None:
        """Runs until the browser leaves, or reads too slowly."""
        self._who, self._address = who, address
        sender = asyncio.create_task(self._send())
        self._tell({'type': 'hello', 'read_only': self._door.is_read_only})
        leave = self._hub.join(self._put)
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    break
                self._take(message.data)
        finally:
            leave()
            for view in self._views.values():
                view.close()
            tasks = [sender, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        told = 0
        while True:
            item = await self._send_queue.next()
            if isinstance(item, str):
                await self._socket.send_str(item)
            else:
                await self._socket.send_bytes(item)
            if self._send_queue.pictures_dropped != told:
                told = self._send_queue.pictures_dropped
                await self._socket.send_str(json.dumps({'type': 'dropped', 'pictures': told}))

    def _put(self, text: str) -> None:
        try:
            self._send_queue.put_text(text)
        except ReaderTooSlow as error:
            if not self._is_overrun:
                self._is_overrun = True
                reason = str(error).encode()
                asyncio.ensure_future(
                    self._socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=reason)
                )

    def _tell(self, content: Fields) -> None:
        self._put(json.dumps(content, ensure_ascii=False))

    # --- commands ---------------------------------------------------------------------------------

    def _take(self, text: str) -> None:
        try:
            command = parsed(text)
            self._check(command)
        except BadCommand as error:
            self._tell({'type': 'refused', 'id': _number_of(text), 'why': str(error)})
            return
        if command.name == 'look':
            self._look(command)
        elif command.name == 'look_away':
            self._look_away(command.fields)
        elif command.name == 'cancel':
            task = self._running.get(command.fields.get('request', -1))
            if task is not None:
                task.cancel()
        else:
            task = asyncio.create_task(self._run(command))
            self._running[command.id] = task
            task.add_done_callback(lambda done: self._note_end(command.id, done))

    def _check(self, command: Command) -> None:
        name = command.name
        if name in CHANGES | QUESTIONS:
            if self._door.is_read_only:
                raise BadCommand('this console is read-only')
            self._door.audit.write(self._who, self._address, name, {'fields': command.fields})
        if name in QUESTIONS:
            wait = self._door.questions.wait_s(self._who)
            if wait:
                raise BadCommand(f'too many questions; wait {wait:.0f} s')
        if command.id in self._running:
            raise BadCommand('a command of that id is running')
        if len(self._running) >= MAX_RUNNING:
            raise BadCommand(f'{MAX_RUNNING} commands are running')

    async def _run(self, command: Command) -> None:
        def on_piece(content: Fields) -> None:
            self._tell({'type': 'piece', 'id': command.id, **content})

        try:
            reply = await self._robot.do(command.name, command.fields, on_piece)
            self._tell({'type': 'done', 'id': command.id, **reply})
        except Refused as error:
            self._tell({'type': 'refused', 'id': command.id, 'why': str(error)})

    def _note_end(self, number: int, task: asyncio.Task[None]) -> None:
        self._running.pop(number, None)
        if task.cancelled():  # perhaps before its first step
            self._tell({'type': 'refused', 'id': number, 'why': 'cancelled'})
        elif task.exception() is not None:
            why = f'the console failed: {task.exception()!r}'
            self._tell({'type': 'refused', 'id': number, 'why': why})

    def _look(self, command: Command) -> None:
        fields = command.fields
        key = fields.get('node', ''), fields.get('camera', '')
        self._look_away(fields)
        if len(self._views) >= MAX_RUNNING:
            self._tell({'type': 'refused', 'id': command.id, 'why': 'too many cameras'})
            return
        period = 1.0 / min(30.0, max(0.1, float(fields.get('rate', 10.0))))
        width = min(3840, max(80, int(fields.get('width', 640))))
        pace = _Pace(period)

        def on_picture(picture: Picture) -> None:
            if pace.is_due():
                self._send_queue.put_picture('/'.join(key), packed(picture))

        self._views[key] = self._robot.look(*key, width, on_picture)

    def _look_away(self, fields: Fields) -> None:
        view = self._views.pop((fields.get('node', ''), fields.get('camera', '')), None)
        if view is not None:
            view.close()


class _Pace:
    """Lets through one picture per period of the steady clock."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = max(self._next + self._period_s, now)
        return True


def packed(picture: Picture) -> bytes:
    """Returns a binary message: the length of a JSON head in 4 bytes, the head, the JPEG."""
    head = {'node': picture.node, 'camera': picture.camera, 'stamp': str(picture.stamp_ns)}
    text = json.dumps(head).encode()
    return struct.pack('>I', len(text)) + text + picture.jpeg


def _number_of(text: str) -> int | None:
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        number = json.loads(text[:MAX_MESSAGE]).get('id')
        return number if isinstance(number, int) else None
    return None
