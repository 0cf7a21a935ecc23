# SPDX-License-Identifier: Apache-2.0
"""A plain MJPEG stream of one topic, as `benchmarks/console.py` compares the console with: each
picture is encoded when it comes and written to whoever has the page open.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import cv2
import numpy as np
from aiohttp import web

PAGE = (
    '<!doctype html><title>stream</title><img id="stream" src="/stream" width="640" height="480">'
)
NEXT = b'--picture\r\nContent-Type: image/jpeg\r\n\r\n'
QUALITY = 80


class Stream:
    """The newest picture, and who waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._new = asyncio.Event()
        self._jpeg = b''

    def on_image(self, message: Any) -> None:
        """Encodes a picture on the executor's thread."""
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        jpeg = cv2.imencode('.jpg', pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        self._loop.call_soon_threadsafe(self._put, jpeg.tobytes())

    def _put(self, jpeg: bytes) -> None:
        self._jpeg = jpeg
        self._new.set()
        self._new = asyncio.Event()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Returns the page with the stream."""
        return web.Response(text=PAGE, content_type='text/html')

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Writes every picture to one client."""
        kind = {'Content-Type': 'multipart/x-mixed-replace; boundary=picture'}
        response = web.StreamResponse(headers=kind)
        await response.prepare(request)
        # The head of the next part at once: a browser shows a part when it has that.
        await response.write(NEXT)
        while True:
            await self._new.wait()
            await response.write(self._jpeg + b'\r\n' + NEXT)


async def serve(port: int) -> None:
    """Serves until the process is ended."""
    import rclpy
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    stream = Stream(asyncio.get_running_loop())
    rclpy.init()
    node = rclpy.create_node('bench_mjpeg')
    node.create_subscription(Image, 'bench/image', stream.on_image, QoSProfile(depth=1))
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    app = web.Application()
    app.router.add_get('/', stream.page)
    app.router.add_get('/stream', stream.stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', port).start()
    await asyncio.Event().wait()


if __name__ == '__main__':
    try:
        asyncio.run(serve(int(sys.argv[1])))
    except KeyboardInterrupt:
        pass
