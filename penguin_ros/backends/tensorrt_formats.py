# SPDX-License-Identifier: Apache-2.0
"""How TensorRT's number formats lie in numpy, bfloat16 as its bits. Knows names and arrays only."""
from __future__ import annotations

from typing import Any

import numpy as np

STORAGE: dict[str, np.dtype[Any]] = {
    'FLOAT': np.dtype('<f4'), 'HALF': np.dtype('<f2'), 'BF16': np.dtype('<u2'), 'INT32': np.dtype('<i4'),
    'INT64': np.dtype('<i8'), 'BOOL': np.dtype('?'), 'UINT8': np.dtype('u1'), 'INT8': np.dtype('i1')}
"""By the name of TensorRT's DataType."""

NAMES = {'FLOAT': 'float32', 'HALF': 'float16', 'BF16': 'bfloat16', 'INT32': 'int32', 'INT64': 'int64', 'BOOL': 'bool',
         'UINT8': 'uint8', 'INT8': 'int8'}
"""What the manifest of a bundle calls them."""

SAFETENSORS = {'FLOAT': 'F32', 'HALF': 'F16', 'BF16': 'BF16'}
"""What safetensors calls those that activations have."""
