# SPDX-License-Identifier: Apache-2.0
"""Whether there is enough memory to build an engine, before hours are spent on it. Knows numbers, not TensorRT.

The figures are estimates from reports of others, on the safe side of none that we could measure.
"""
from __future__ import annotations

import onnx

from penguin_ros.errors import NotEnoughSpace
from penguin_ros.export.resources import free_memory
from penguin_ros.export.tensorrt_graph import largest_matrix, weight_bytes

BASE_BYTES = 600 * 1024 * 1024
"""TensorRT, CUDA and their contexts."""

TACTIC_RATIO = 1.75
"""Of the largest matrix in float16: 1.07 GB were reported for 2048 x 151,936 on an Orin Nano with TensorRT 10.3."""

REMEDY = ('Run without a desktop (sudo systemctl isolate multi-user.target), stop other programs, boot with cma=950M on an Orin '
          'Nano, or build with a smaller --max-length or more parts of the head')


def needed_bytes(model: onnx.ModelProto) -> int:
    """Weights in the page cache, as many in the plan, the largest matrix while it is tried out, and the rest."""
    return 2 * weight_bytes(model) + int(TACTIC_RATIO * 2 * largest_matrix(model)) + BASE_BYTES


def check_memory(part: str, model: onnx.ModelProto, gpu_free_bytes: int, is_shared: bool) -> None:
    """NotEnoughSpace with the numbers and the remedy.

    `is_shared`: the GPU's memory is the machine's, as on a Jetson. What CUDA calls free there leaves out the page cache, which
    gives way; so the machine's own figure counts.
    """
    needed = needed_bytes(model)
    free = free_memory() if is_shared else gpu_free_bytes
    if free < needed:
        raise NotEnoughSpace(f'building the engine of the {part} needs about {needed / 1e9:.2f} GB of memory',
                             f'{free / 1e9:.2f} GB are free', REMEDY, needed, free)
