# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is installed, and whether it can be used. Imports it only when asked."""
from __future__ import annotations

import importlib

from penguin_ros.errors import BackendUnavailable

OLDEST = (10, 3)


def require_tensorrt() -> str:
    """The version of TensorRT; BackendUnavailable when it is missing or too old, with the way out."""
    try:
        version = str(importlib.import_module('tensorrt').__version__)
    except (ImportError, OSError, AttributeError) as error:
        raise BackendUnavailable('backend tensorrt is not available', f'importing tensorrt failed ({error})',
                                 'On a Jetson type: sudo apt install python3-libnvinfer, and use a virtual environment made '
                                 'with --system-site-packages') from error
    if tuple(int(part) for part in version.split('.')[:2]) < OLDEST:
        raise BackendUnavailable(f'TensorRT {version} is too old',
                                 'it has neither int4 weights nor the operators that the graphs need; 10.3 is the oldest',
                                 'Upgrade to JetPack 6.2.x (TensorRT 10.3) or later')
    return version
