# SPDX-License-Identifier: Apache-2.0
"""The demo in the browser: the simulated world with its node, a memory, rules, and the operator's
page, until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from penguin_ros.console import print_line, status_line
from penguin_ros.demo.nodes import NODE, REMAPS, DemoNodes, DemoSettings, demo_nodes
from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.node_process import NodeProcess

STOP_S = 8.0
POLL_S = 0.2
_ADDRESS = re.compile(r'^Open (\S+)$', re.MULTILINE)


class ConsoleProcess:
    """`penguin console` as a process of its own, with its log in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.log = folder / 'console.log'
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it in a group of its own, so that Ctrl-C reaches only us."""
        words = [
            sys.executable,
            '-m',
            'penguin_ros.cli.entry',
            'console',
            '--port',
            f'{self._port}',
        ]
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def address(self) -> str:
        """Returns the newest address that it printed, '' before the first; PenguinError when it has
        ended.
        """
        text = self.log.read_text(errors='replace')
        if self._process is not None and self._process.poll() is not None:
            raise PenguinError('the console has ended', text[-500:].strip())
        return next(reversed(_ADDRESS.findall(text)), '')

    def stop(self) -> None:
        """Ends it as Ctrl-C would; kills it when that does not end it in time."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_console_demo(settings: DemoSettings, port: int) -> None:
    """Shows the demo in the browser until Ctrl-C, or for `settings.seconds` where they are not 0.
    Every address that lets a browser in is printed.
    """
    # Keeps the demo apart from robots and from other demos.
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    with _running(settings, port) as (nodes, console), contextlib.suppress(KeyboardInterrupt):
        end = time.monotonic() + settings.seconds if settings.seconds else float('inf')
        shown = ''
        while time.monotonic() < end:
            address = console.address()
            if address and address != shown:
                first = 'open this address' if not shown else 'that one was used; another browser'
                print_line(f'{first}: {address}')
                if not shown:
                    print_line('Ctrl-C ends the demo')
                shown = address
            for process in (nodes.camera, nodes.penguin):
                process.check()
            time.sleep(POLL_S)
    status_line('the demo has ended')


@contextlib.contextmanager
def _running(settings: DemoSettings, port: int) -> Iterator[tuple[DemoNodes, ConsoleProcess]]:
    """The processes, started; all of them are stopped at the end, whatever happens."""
    with (
        tempfile.TemporaryDirectory(prefix='penguin_demo_') as name,
        demo_nodes(settings, Path(name)) as nodes,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        console = ConsoleProcess(folder, port)
        memory = NodeProcess(
            'memory_node',
            folder,
            {
                'folder': str(folder / 'memory'),
                'nodes': [NODE],
                'use_sim_time': settings.video is None,
                'picture.enabled': True,
                'pose.base_frame': '',
            },
            REMAPS,
        )
        nodes.camera.start()
        nodes.penguin.start()
        for process in (memory, console):
            stack.callback(process.stop)
            process.start()
        yield nodes, console
