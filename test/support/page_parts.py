# SPDX-License-Identifier: Apache-2.0
"""Parts of the console's page alone in Chromium, on its own markup, with a connection that a test
gives them: no ROS, no node.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from support.served_console import Console, serving

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
MARKUP = """
const done = arguments[arguments.length - 1];
fetch("/").then((page) => page.text()).then((html) => {
  document.documentElement.innerHTML = html;  // scripts in it do not run
  done(true);
});
"""


class PageParts:
    """A served console and a browser on a page of it that runs nothing by itself."""

    def __init__(self, folder: Path) -> None:
        options = ChromeOptions()
        options.binary_location = CHROMIUM or ''
        for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'disable-gpu'):
            options.add_argument(f'--{argument}')
        self._browser: Any = Chrome(options=options, service=Service(DRIVER))
        self._loop = asyncio.new_event_loop()
        self._serving = serving(folder)
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._console: Console = self._run(self._serving.__aenter__())
        self._browser.get(f'{self._console.url}/login?token={self._console.tokens[-1]}')

    def run(self, script: str) -> Any:
        """Runs a script on fresh markup and returns what it returns; it may wait and import."""
        self._browser.get(f'{self._console.url}/health')
        self._browser.execute_async_script(MARKUP)
        told = self._browser.execute_async_script(
            'const done = arguments[arguments.length - 1];'
            f'(async () => {{ {script} }})().then(done, (error) => done("failed: " + error.stack))'
        )
        assert not str(told).startswith('failed: '), told
        return told

    def close(self) -> None:
        """Ends the browser and the server."""
        self._browser.quit()
        self._run(self._serving.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, awaited: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(60.0)
