# SPDX-License-Identifier: Apache-2.0
"""Processes in which a library cannot be imported though it is installed."""

from __future__ import annotations

import os
from pathlib import Path


def environment_without(folder: Path, *modules: str) -> dict[str, str]:
    """What to add to the environment of a process: in it and in those that it starts, importing the
    modules fails.

    `folder` gets a file that Python runs when it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ['import sys', *(f'sys.modules[{name!r}] = None' for name in modules)]
    (folder / 'sitecustomize.py').write_text('\n'.join(lines) + '\n')
    return {
        'PYTHONPATH': os.pathsep.join(filter(None, (str(folder), os.environ.get('PYTHONPATH', ''))))
    }
