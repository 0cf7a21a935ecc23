# SPDX-License-Identifier: Apache-2.0
"""The module of the TensorRT that this process uses: `tensorrt`, or `tensorrt_rtx`, which has the
same classes.

Importing this file imports that library, and settles which it is for the rest of the process;
`library.require_tensorrt` chooses it before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from penguin_ros.backends.tensorrt.library import chosen_module

if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = importlib.import_module(chosen_module())

__all__ = ['trt']
