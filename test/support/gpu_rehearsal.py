# SPDX-License-Identifier: Apache-2.0
"""A benchmark for a GPU, run on a tiny network without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def rehearsed(name: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Runs benchmarks/NAME to its end; returns what it found and what it printed."""
    path = folder / 'found.json'
    result = subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / name, '--tiny', '--rounds', '1', '--json', path],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(path.read_text()), result.stdout
