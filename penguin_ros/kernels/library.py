# SPDX-License-Identifier: Apache-2.0
"""Where Triton lies, and processes that have it.

Triton brings an LLVM that ends a process which has drawn with Mesa's, and it is needed to compile
and to test only. So it is installed in a folder of its own, which is on the path of child processes
and of no other.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from penguin_ros.errors import BuildRefused

VARIABLE = 'PENGUIN_KERNELS_PATH'
"""Names another folder."""

FOLDER = '.kernels'
"""Beside the packages of the virtual environment that ./scripts/setup makes."""


def triton_folder() -> Path | None:
    """Returns the folder with Triton, the one of this Python's packages last; None where there is
    none.
    """
    named = os.environ.get(VARIABLE)
    for folder in ([Path(named)] if named else []) + [Path(sys.prefix) / FOLDER]:
        if (folder / 'triton').is_dir():
            return folder
    found = importlib.util.find_spec('triton')
    if found and found.origin:
        return Path(found.origin).parents[1]
    return None


def environment(*, is_interpreted: bool) -> dict[str, str]:
    """Returns the environment of a child process with Triton, and with Triton's interpreter in the
    place of a GPU where that is asked for; BuildRefused where Triton is missing.
    """
    folder = triton_folder()
    if folder is None:
        raise BuildRefused(
            'the kernels cannot be compiled here',
            'Triton is not installed',
            f'Type ./scripts/setup test, or pip install --target {Path(sys.prefix) / FOLDER} '
            '"triton>=3.6,<3.10"',
        )
    checkout = Path(__file__).resolve().parents[2]
    values = dict(os.environ, PYTHONPATH=os.pathsep.join((str(checkout), str(folder))))
    values.pop('TRITON_INTERPRET', None)
    if is_interpreted:
        values['TRITON_INTERPRET'] = '1'
    return values
