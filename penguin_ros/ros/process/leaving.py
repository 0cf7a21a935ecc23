# SPDX-License-Identifier: Apache-2.0
"""Ends the process of a node whose ROS entities are destroyed."""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Writes out what is buffered, runs what was registered with atexit, and ends the process.

    Taking down the interpreter and the libraries of a model would take a second more on an idle
    machine and several on a busy one, and `launch` kills what has not ended after five.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, or it is closed
            pass
    os._exit(code)
