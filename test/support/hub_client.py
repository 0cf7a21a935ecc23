# SPDX-License-Identifier: Apache-2.0
"""A machine with a hub cache of its own, which opens checkpoints in new processes because the hub's
client reads its settings only once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL, ENCODER = 'penguin/tiny', 'penguin/encoder'
OPEN = """
import json, sys, time
start = time.monotonic()
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import CheckpointError
lines = []
try:
    checkpoint = open_checkpoint(sys.argv[1], progress=lines.append)
    result = dict(name=checkpoint.name, path=str(checkpoint.path), digest=checkpoint.digest)
except CheckpointError as error:
    result = dict(error=type(error).__name__, what=error.what, why=error.why, fix=error.fix)
print(json.dumps(dict(result, lines=lines, seconds=time.monotonic() - start)))
"""


@dataclass
class Client:
    """A machine with an empty cache that opens checkpoints, each time in a new process."""

    url: str
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(('HF_', 'HUGGING', 'TRANSFORMERS'))
        }
        return {
            **kept,
            'HF_ENDPOINT': self.url,
            'HF_HOME': str(self.home),
            'PYTHONPATH': str(ROOT),
            'NO_PROXY': '127.0.0.1',
            'no_proxy': '127.0.0.1',
            **more,
        }

    def start(self, source: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, '-c', OPEN, source],
            env=self.environment(**more),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def open(self, source: str, **more: str) -> dict[str, Any]:
        process = self.start(source, **more)
        output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
        return json.loads(output)


def closed_port() -> str:
    """Returns an address at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return f'http://127.0.0.1:{listener.getsockname()[1]}'
