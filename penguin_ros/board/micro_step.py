# SPDX-License-Identifier: Apache-2.0
"""What the steps with small engines share: an open device with the TensorRT that goes with it, and
attempts that may fail one by one.

Importing this file needs tensorrt, cuda-bindings and onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.board.micro_engine import MicroGraph, measure
from penguin_ros.errors import PenguinError

Entry = dict[str, Any]
"""What one small engine gave, or `why` there is none."""


@contextmanager
def open_device() -> Iterator[CudaDevice]:
    """Gives the device, and closes it."""
    device = CudaDevice()
    try:
        yield device
    finally:
        device.close()


def attempt(work: Callable[[], Entry]) -> Entry:
    """Returns what the work gives; what stops it becomes its entry."""
    try:
        return work()
    except PenguinError as error:
        return {'why': f'{error.what}: {error.why}'}
    except Exception as error:  # one form that fails must not hide the others
        return {'why': f'{type(error).__name__}: {error}'.partition('\n')[0]}


def measured(
    graph: MicroGraph,
    device: CudaDevice,
    folder: Path,
    repeats: int,
    expected: NDArray[np.float32],
    output: str,
) -> Entry:
    """Returns the facts of an engine, and how far an output lies from what it must be."""
    found = measure(graph, device, folder, repeats)
    return found.facts() | {'error': relative_error(as_float32(found.outputs[output]), expected)}


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Returns values of an engine as float32; bfloat16 comes as its bits."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def relative_error(values: NDArray[np.float32], expected: NDArray[np.float32]) -> float | None:
    """Returns the largest difference in proportion to the largest expected value; None when values
    are not finite, which JSON has no number for.
    """
    difference = np.abs(values.reshape(expected.shape) - expected).max()
    return float(difference / np.abs(expected).max()) if np.isfinite(difference) else None
