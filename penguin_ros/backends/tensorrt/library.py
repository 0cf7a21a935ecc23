# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is installed and whether it can be used, and what its number formats are in numpy.

Importing this file needs no TensorRT; `require_tensorrt` imports it.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from penguin_ros.errors import BackendUnavailable

STORAGE: dict[str, np.dtype[Any]] = {
    'FLOAT': np.dtype('<f4'),
    'HALF': np.dtype('<f2'),
    'BF16': np.dtype('<u2'),
    'INT32': np.dtype('<i4'),
    'INT64': np.dtype('<i8'),
    'BOOL': np.dtype('?'),
    'UINT8': np.dtype('u1'),
    'INT8': np.dtype('i1'),
}
"""How a tensor lies in numpy, by the name of TensorRT's DataType; bfloat16 as its bits."""

NAMES = {
    'FLOAT': 'float32',
    'HALF': 'float16',
    'BF16': 'bfloat16',
    'INT32': 'int32',
    'INT64': 'int64',
    'BOOL': 'bool',
    'UINT8': 'uint8',
    'INT8': 'int8',
}
"""What the manifest of a bundle calls these formats."""

SAFETENSORS = {'FLOAT': 'F32', 'HALF': 'F16', 'BF16': 'BF16'}
"""What safetensors calls the formats of activations."""

OLDEST = (10, 3)
"""The oldest version of TensorRT that runs the graphs."""


def require_tensorrt() -> str:
    """Returns the version of TensorRT; BackendUnavailable with the way out when it is missing or
    too old.
    """
    try:
        version = str(importlib.import_module('tensorrt').__version__)
    except (ImportError, OSError, AttributeError) as error:
        raise BackendUnavailable(
            'backend tensorrt is not available',
            f'importing tensorrt failed ({error})',
            'On a Jetson type: sudo apt install python3-libnvinfer, and use a virtual environment '
            'made '
            'with --system-site-packages',
        ) from error
    if tuple(int(part) for part in version.split('.')[:2]) < OLDEST:
        raise BackendUnavailable(
            f'TensorRT {version} is too old',
            'it has neither int4 weights nor the operators that the graphs need; 10.3 is the '
            'oldest',
            'Upgrade to JetPack 6.2.x (TensorRT 10.3) or later',
        )
    return version
