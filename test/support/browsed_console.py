# SPDX-License-Identifier: Apache-2.0
"""The console over real topics for tests in a browser: a simulated camera, the node with the
included small model, the console's process, and Chromium without a screen.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from penguin_ros.demo.included_model import included_model
from penguin_ros.ros.process.node_process import NodeProcess

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
WAIT_S = 120.0
DESKTOP = (1440, 1000)
NODE = {'caption.period': 1.0, 'use_sim_time': True, 'model.threads': 1}


class ConsoleProcess:
    """`penguin console` as a process of its own."""

    def __init__(self, log: Path, *options: str) -> None:
        self.log = log
        command = [sys.executable, '-m', 'penguin_ros.cli.entry', 'console', '--port', free_port()]
        with log.open('wb') as out:
            self.process = subprocess.Popen(
                [*command, *options], stdout=out, stderr=subprocess.STDOUT
            )

    def address(self) -> str:
        """Waits for the newest address that was printed."""
        end = time.monotonic() + WAIT_S
        while not (found := re.findall(r'Open (\S+)', self.log.read_text())):
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        return str(found[-1])

    def end(self) -> None:
        """Ends it, if it has not ended."""
        self.process.terminate()
        self.process.wait(20)


class Console:
    """The processes, and the browser that shows the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = {f'model.{key}': value for key, value in included_model(()).items()}
        self.node = NodeProcess(
            'penguin_node', folder, {**NODE, **model, 'rule.file': str(folder / 'rules.yaml')}, {}
        )
        self.camera = NodeProcess('sim_camera', folder, {'seed': 3}, {})
        self.log = folder / 'console.log'
        self.browser: Any = None

    def start(self) -> None:
        self.camera.start()
        self.node.start()
        self.process = ConsoleProcess(self.log)
        options = ChromeOptions()
        options.binary_location = CHROMIUM or ''
        for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'disable-gpu'):
            options.add_argument(f'--{argument}')
        self.browser = Chrome(options=options, service=Service(DRIVER))
        self.browser.set_window_size(*DESKTOP)
        self.browser.get(self.address())

    def address(self) -> str:
        """Returns the newest address that was printed."""
        return self.process.address()

    def beside(self, *options: str) -> ConsoleProcess:
        """Starts another console for the same robot."""
        return ConsoleProcess(self.folder / 'beside.log', *options)

    def stop(self) -> None:
        if self.browser is not None:
            self.browser.quit()
        self.process.end()
        self.node.stop()
        self.camera.stop()

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        return str(self.browser.find_element(By.CSS_SELECTOR, selector).text)

    def until(self, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        end = time.monotonic() + timeout_s
        while True:
            try:
                found = condition()
            except Exception as error:  # an element that was replaced meanwhile
                found, last = None, error
            else:
                last = None
            if found:
                return found
            if time.monotonic() > end:
                tail = self.node.tail() + self.log.read_text()[-500:]
                raise AssertionError(f'it did not come: {last}\n{tail}')
            time.sleep(0.1)


def free_port() -> str:
    """Returns a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])
