# SPDX-License-Identifier: Apache-2.0
"""One WebSocket: a sender, which empties the send queue, and tasks for what is asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from penguin_ros.web_console.commands import (
    AUDITED,
    CHANGES,
    QUESTIONS,
    BadCommand,
    Command,
    parsed,
)
from penguin_ros.web_console.door import Door
from penguin_ros.web_console.hub import TIME_LINE, Hub
from penguin_ros.web_console.robot import Fields, Look, Picture, Refused, Robot
from penguin_ros.web_console.send_queue import ReaderTooSlow, SendQueue

MAX_RUNNING = 16
MAX_VIEWS = 32


class Browser:
    """Serves one browser, from when its socket is open until it is closed."""

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
            if self._door.messages.wait_s(self._who):
                raise BadCommand('too many messages; wait a moment')
            command = parsed(text)
            self._check(command)
            self._start(command)
        except BadCommand as error:
            self._tell({'type': 'refused', 'id': number_of(text), 'why': str(error)})

    def _check(self, command: Command) -> None:
        name = command.name
        if self._door.is_read_only and name in CHANGES | QUESTIONS:
            raise BadCommand('this console is read-only')
        if name in AUDITED:
            self._door.audit.write(self._who, self._address, name, {'fields': command.fields})
            wait = self._door.questions.wait_s(self._who)
            if wait:
                raise BadCommand(f'too many questions; wait {wait:.0f} s')
        if command.id in self._running:
            raise BadCommand('a command of that id is running')
        if len(self._running) >= MAX_RUNNING:
            raise BadCommand(f'{MAX_RUNNING} commands are running')

    def _start(self, command: Command) -> None:
        fields = command.fields
        if command.name == 'look':
            self._look(fields)
        elif command.name == 'look_away':
            self._look_away(fields)
        elif command.name == 'drawn':
            self._send_queue.note_drawn('/'.join(key_of(fields)), fields.get('number', 0))
        elif command.name == 'entries':
            self._tell({'type': 'done', 'id': command.id, **self._entries(fields)})
        elif command.name == 'cancel':
            task = self._running.get(fields.get('request', -1))
            if task is not None:
                task.cancel()
        else:
            task = asyncio.create_task(self._run(command))
            self._running[command.id] = task
            task.add_done_callback(lambda done: self._note_end(command.id, done))

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

    def _entries(self, fields: Fields) -> Fields:
        kinds = [kind for kind in fields.get('kinds', TIME_LINE) if kind in TIME_LINE]
        found, has_more = self._hub.found(fields.get('before', 0), fields.get('words', ''), kinds)
        return {'entries': [json.loads(entry.text) for entry in found], 'has_more': has_more}

    # --- pictures ---------------------------------------------------------------------------------

    def _look(self, fields: Fields) -> None:
        key = key_of(fields)
        before = self._views.pop(key, None)
        if before is None and len(self._views) >= MAX_VIEWS:
            raise BadCommand(f'{MAX_VIEWS} cameras are looked at')
        rate = min(30.0, max(0.0, float(fields.get('rate', 10.0))))
        width = min(3840, max(80, int(fields.get('width', 640))))

        def on_picture(picture: Picture) -> None:
            self._send_queue.put_picture('/'.join(key), packed(picture))

        # The new one first: with the last view of a camera its subscription ends.
        self._views[key] = self._robot.look(Look(*key, width, rate), on_picture)
        if before is not None:
            before.close()

    def _look_away(self, fields: Fields) -> None:
        view = self._views.pop(key_of(fields), None)
        if view is not None:
            view.close()


def key_of(fields: Fields) -> tuple[str, str]:
    """Returns the node and the camera that a command is about."""
    return fields.get('node', ''), fields.get('camera', '')


def packed(picture: Picture) -> bytes:
    """Returns a picture's message: the length of a JSON head in 4 bytes, the head, the JPEG."""
    head = {'node': picture.node, 'camera': picture.camera, 'stamp': str(picture.stamp_ns)}
    text = json.dumps(head).encode()
    return struct.pack('>I', len(text)) + text + picture.jpeg


def number_of(text: str) -> int | None:
    """Returns the id of a message that is no command, where it has one."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        number = json.loads(text).get('id')
        return number if isinstance(number, int) else None
    return None
