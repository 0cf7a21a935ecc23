# SPDX-License-Identifier: Apache-2.0
"""Firefox without a screen, driven through WebDriver BiDi, which it speaks itself: no driver is
needed beside it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp

FIREFOX = shutil.which('firefox-esr') or shutil.which('firefox')
START_S = 60.0
CALL_S = 60.0
_LISTENING = re.compile(r'WebDriver BiDi listening on (ws://\S+)')
ENTER = '\ue007'


class Firefox:
    """One window; its profile and its log lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / 'firefox.log'
        profile = folder / 'firefox'
        profile.mkdir()
        words = [str(FIREFOX), '--headless', '--no-remote', '--profile', str(profile)]
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(
                [*words, '--remote-debugging-port', '0'],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._run(self._connect())
        self.call('session.new', {'capabilities': {}})
        self._tab = self.call('browsingContext.getTree', {})['contexts'][0]['context']

    def call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Sends one command and returns its result."""
        return self._run(self._call(method, parameters))

    def open(self, address: str) -> None:
        """Opens a page and waits until it is loaded."""
        self.call(
            'browsingContext.navigate', {'context': self._tab, 'url': address, 'wait': 'complete'}
        )

    def size(self, width: int, height: int) -> None:
        """Makes the page so large."""
        viewport = {'width': width, 'height': height}
        self.call('browsingContext.setViewport', {'context': self._tab, 'viewport': viewport})

    def run(self, script: str) -> Any:
        """Runs a script in the page and returns its last value, or that of its promise."""
        target = {'context': self._tab}
        found = self.call(
            'script.evaluate', {'expression': script, 'target': target, 'awaitPromise': True}
        )
        assert found['type'] == 'success', found
        return found['result'].get('value')

    def value(self, expression: str) -> Any:
        """Returns what an expression is, or what its promise becomes, as JSON has it."""
        text = self.run(f'(async () => JSON.stringify(await ({expression})))()')
        return None if text is None else json.loads(text)

    def type(self, text: str) -> None:
        """Presses keys, where the focus is."""
        keys = [{'type': kind, 'value': key} for key in text for kind in ('keyDown', 'keyUp')]
        actions = [{'type': 'key', 'id': 'keyboard', 'actions': keys}]
        self.call('input.performActions', {'context': self._tab, 'actions': actions})

    def close(self) -> None:
        """Ends the browser."""
        self._run(self._session.close())
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._loop.close()

    def _run(self, what: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(what, CALL_S))

    async def _connect(self) -> None:
        end = time.monotonic() + START_S
        while not (found := _LISTENING.search(self._log.read_text(errors='replace'))):
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(self._log.read_text(errors='replace')[-2000:])
            await asyncio.sleep(0.1)
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(f'{found[1]}/session', max_msg_size=0)

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({'id': self._number, 'method': method, 'params': parameters})
        while True:
            reply = await self._socket.receive_json()
            if reply.get('id') == self._number:
                assert reply['type'] == 'success', reply
                return dict(reply['result'])
