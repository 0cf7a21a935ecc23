# SPDX-License-Identifier: Apache-2.0
"""The served engine of a fleet as a process that can be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from penguin_ros.errors import PenguinError

STOP_TIMEOUT_S = 8.0
ANSWER_TIMEOUT_S = 1.0


class ServedEngine:
    """`penguin serve MODEL` on a port of this machine, with more `options`; its log goes to
    `folder`.
    """

    def __init__(self, model: str, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = _free_port()
        self.log = folder / 'serve.log'
        self._command = [sys.executable, '-m', 'penguin_ros.cli.main', 'serve', model]
        self._command += ['--port', str(self.port), *options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f'http://127.0.0.1:{self.port}'

    @property
    def pid(self) -> int | None:
        """The process number while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the process, in a group of its own as the nodes of a demo."""
        with self.log.open('ab') as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether the model is loaded; PenguinError when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise PenguinError('the served engine has ended', self.log.read_text()[-1000:])
        try:
            with urllib.request.urlopen(f'{self.url}/ready', timeout=ANSWER_TIMEOUT_S):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ends it as Ctrl-C would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])
