# SPDX-License-Identifier: Apache-2.0
"""HTTP and WebSockets: the page, the login, and one WebSocket for each browser.

    GET /login?token=…   becomes a cookie and leads to /
    GET /                the page, and its files
    GET /frame           a picture that an answer was based on
    GET /socket          everything else, as JSON in text messages; pictures in binary ones
    GET /health          for whoever started this; needs no cookie, says nothing

There is no other method, so no form of another site can change anything. `connections` bounds what
comes before a request is complete; a body is never read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import WSCloseCode, web

from penguin_ros.http_site.site import Denied, split_host
from penguin_ros.web_console.access import COOKIE
from penguin_ros.web_console.browser import Browser
from penguin_ros.web_console.connections import Connections
from penguin_ros.web_console.door import Door
from penguin_ros.web_console.hub import Hub
from penguin_ros.web_console.robot import Refused, Robot

MAX_BROWSERS = 256
MAX_MESSAGE = 256 * 1024
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


class ConsoleServer:
    """The application of aiohttp; made and used on the thread of its loop."""

    def __init__(self, door: Door, hub: Hub, robot: Robot) -> None:
        self._door = door
        self._hub = hub
        self._robot = robot
        self._sockets: set[web.WebSocketResponse] = set()
        self._listener: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None
        self._page = {
            item.name: item.read_bytes()
            for item in (files('penguin_ros.web_console') / 'page').iterdir()
            if item.name.rpartition('.')[2] in KINDS
        }

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listens on an address; OSError when it cannot. No log of addresses, which carry tokens; a
        body that nobody reads ends the connection instead of being waited for.
        """
        runner = web.AppRunner(self._application(), access_log=None, lingering_time=0.0)
        self._runner = runner
        await runner.setup()
        handlers = runner.server
        assert handlers is not None, 'there is one after setup'
        self._connections = Connections(handlers)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connections, host, port, ssl=tls)

    async def stop(self) -> None:
        """Ends all connections."""
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:  # else it was never started
            await self._runner.cleanup()

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
                self._who(request)
            if request.body_exists:
                raise Denied(413, 'requests to this server have no body')
            return await handler(request)
        except Denied as denied:
            return web.Response(status=denied.status, text=f'{denied.why}\n')

    def _who(self, request: web.Request) -> str:
        return self._door.keeper.check_session(request.cookies.get(cookie_name(request)))

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
            cookie_name(request),
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
        who = self._who(request)
        if len(self._sockets) >= MAX_BROWSERS:
            raise Denied(503, f'{MAX_BROWSERS} browsers are connected already')
        # Pictures are compressed already.
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE, compress=False
        )
        self._sockets.add(socket)
        try:
            await socket.prepare(request)
            self._connections.lift(request.protocol)
            browser = Browser(socket, self._door, self._hub, self._robot)
            await browser.serve(who, request.remote or '')
        finally:
            self._sockets.discard(socket)
        return socket

    async def _close(self, app: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b'the console ends')


def cookie_name(request: web.Request) -> str:
    """Returns the cookie's name for the port that the browser uses: browsers keep cookies by host
    alone, and the consoles of two robots may be two ports of the loopback.
    """
    _, port = split_host(request.headers['Host'])
    return f'{COOKIE}_{port}'
