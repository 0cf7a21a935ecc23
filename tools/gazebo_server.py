# SPDX-License-Identifier: Apache-2.0
"""Gazebo Classic as a process in a Debian tree of its own, without a screen: how it starts and
ends.

The server runs in namespaces of its own for processes and mounts: when its first process is killed,
the kernel ends every other one in there, and nothing stays mounted. It is also killed when this
program ends in any way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from penguin_ros.errors import PenguinError

WORLDS_IN_TREE = Path('srv/penguin_worlds')
PROGRAMS = ('unshare', 'setpriv', 'chroot', 'mount')
STOP_S = 5.0
_INSIDE = """
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3>/tmp/display 2>/tmp/xvfb.log &
until [ -s /tmp/display ]; do sleep 0.1; done
export DISPLAY=":$(cat /tmp/display)"
exec nice -n 5 gzserver --verbose --lockstep -u "$1"
"""
_OUTSIDE = """
set -e
tree="$1" port="$2" world="$3" inside="$4"
mount --make-rprivate /
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/tmp"
exec chroot "$tree" env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LIBGL_ALWAYS_SOFTWARE=1 \\
  GAZEBO_IP=127.0.0.1 GAZEBO_MASTER_URI="http://127.0.0.1:$port" GAZEBO_MODEL_DATABASE_URI= \\
  GAZEBO_RESOURCE_PATH=/usr/share/gazebo-11 sh -c "$inside" sh "$world"
"""


class GazeboEnded(PenguinError):
    """The server's process ended although it should run."""


class GazeboServer:
    """A server that has loaded `world`, a file below `tree`, and waits paused; physics keeps step
    with the camera.
    """

    def __init__(self, tree: Path, world: Path, log: Path) -> None:
        self.log = log
        self.port = _free_port()
        command = [
            'setpriv',
            '--pdeathsig',
            'KILL',
            'unshare',
            '--mount',
            '--pid',
            '--fork',
            '--kill-child',
            '--',
            'bash',
            '-c',
            _OUTSIDE,
            'bash',
            str(tree),
            str(self.port),
            f'/{world.relative_to(tree)}',
            _INSIDE,
        ]
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises GazeboEnded with the end of the server's log if it does not run."""
        if self._process.poll() is not None:
            lines = self.log.read_text(errors='replace').splitlines()[-8:]
            raise GazeboEnded(
                f'gzserver ended with exit code {self._process.returncode}', '\n'.join(lines)
            )

    def stop(self) -> None:
        """Kills it and everything that it started; may be called again."""
        if self._process.poll() is None:
            # the first process in there; unshare then ends by itself
            for inner in _children(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(inner, signal.SIGKILL)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except OSError:
        return []


def _free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as server:
        return int(server.getsockname()[1])
