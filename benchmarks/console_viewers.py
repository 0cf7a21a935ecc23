# SPDX-License-Identifier: Apache-2.0
"""Viewers of the console for `benchmarks/console.py`, in a process of their own: they read as the
page does, and count what they get.

    python benchmarks/console_viewers.py URL COOKIE watch VIEWERS SECONDS
    python benchmarks/console_viewers.py URL COOKIE come_and_go VIEWERS SECONDS
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time

import aiohttp

STAY_S = 2.0
LOOK = {'node': '/bench_robot', 'camera': 'front', 'rate': 10, 'width': 640}


async def view(session: aiohttp.ClientSession, url: str, seconds: float) -> tuple[int, int, int]:
    """Looks at the camera for a while; returns pictures, their bytes, and bytes of words."""
    pictures = picture_bytes = word_bytes = 0
    end = time.monotonic() + seconds
    async with session.ws_connect(f'{url}/socket', max_msg_size=0) as socket:
        await socket.send_json({'id': 1, 'do': 'look', **LOOK})
        while (left := end - time.monotonic()) > 0:
            try:
                message = await socket.receive(timeout=left)
            except asyncio.TimeoutError:
                break
            if message.type is aiohttp.WSMsgType.BINARY:
                pictures, picture_bytes = pictures + 1, picture_bytes + len(message.data)
                (number,) = struct.unpack('>I', message.data[:4])
                drawn = {'node': LOOK['node'], 'camera': LOOK['camera'], 'number': number}
                await socket.send_json({'id': 2, 'do': 'drawn', **drawn})
            elif message.type is aiohttp.WSMsgType.TEXT:
                word_bytes += len(message.data)
            else:
                break
    return pictures, picture_bytes, word_bytes


async def come_and_go(session: aiohttp.ClientSession, url: str, seconds: float) -> int:
    """Comes, looks for a moment and leaves, again and again; returns how often."""
    end, times = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        await view(session, url, STAY_S)
        times += 1
    return times


async def main(url: str, cookie: str, what: str, viewers: int, seconds: float) -> None:
    """Runs all viewers and prints what they counted as JSON."""
    name, _, value = cookie.partition('=')
    jar = aiohttp.CookieJar(unsafe=True)
    jar.update_cookies({name: value}, aiohttp.client.URL(url))
    async with aiohttp.ClientSession(cookie_jar=jar, headers={'Origin': url}) as session:
        run = view if what == 'watch' else come_and_go
        found = await asyncio.gather(*(run(session, url, seconds) for _ in range(viewers)))
    print(json.dumps(found))


if __name__ == '__main__':
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])))
