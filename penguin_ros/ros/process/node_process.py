# SPDX-License-Identifier: Apache-2.0
"""One of our nodes as a child process with a log file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from penguin_ros.errors import PenguinError

STOP_TIMEOUT_S = 8.0

MAIN_MODULES = {
    'penguin_node': 'penguin_ros.ros.node.main',
    'camera_node': 'penguin_ros.ros.camera_node.main',
    'sim_camera': 'penguin_ros.ros.sim_camera.main',
    'memory_node': 'penguin_ros.ros.memory_node.main',
    'overlay_node': 'penguin_ros.ros.overlay_node.main',
    'record_node': 'penguin_ros.ros.record_node.main',
}


class NodeStopped(PenguinError):
    """A node process ended although it should run."""


class NodeProcess:
    """A node to be started with parameters, parameter files and remappings.

    `name` is one of MAIN_MODULES. `parameters` take precedence over those of `files`. The log goes
    to `folder`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        parameters: Mapping[str, object],
        remaps: Mapping[str, str],
        files: Sequence[Path] = (),
    ) -> None:
        self.name = name
        self.log = folder / f'{name}.log'
        self.exit_code: int | None = None
        self._command = [sys.executable, '-m', MAIN_MODULES[name], '--ros-args']
        for file in files:
            self._command += ['--params-file', str(file)]
        for key, value in parameters.items():
            self._command += ['-p', f'{key}:={json.dumps(value)}']
        for key, value in remaps.items():
            self._command += ['-r', f'{key}:={value}']
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process in a group of its own, so that Ctrl-C in the terminal reaches only us
        and the order of stopping is ours.
        """
        with self.log.open('wb') as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process number, once it was started."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raises NodeStopped with the end of the log when the process is gone."""
        if self._process is not None and self._process.poll() is not None:
            raise NodeStopped(
                f'{self.name} ended with exit code {self._process.returncode}', self.tail()
            )

    def wait(self, timeout_s: float) -> int:
        """Waits until the process ends by itself and returns its exit code.

        subprocess.TimeoutExpired when it does not end within `timeout_s`.
        """
        assert self._process is not None
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Interrupts the process as Ctrl-C would; kills it when that does not end it in time."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self.exit_code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.exit_code = self._process.wait()

    def tail(self, lines: int = 8) -> str:
        """Returns the last lines that it printed."""
        if not self.log.exists():
            return ''
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])
