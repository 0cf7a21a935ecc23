# SPDX-License-Identifier: Apache-2.0
"""A bundle of an order on its backend, open while a step lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.board.steps import StepOrder
from penguin_ros.config import ModelConfig

SLOTS = 2


@contextmanager
def opened(
    order: StepOrder, decode: str = 'auto', folder: str = ''
) -> Iterator[tuple[Backend, Bundle]]:
    """Gives the open backend of the order's bundle, or of that in `folder`, and closes it; see the
    setting model.decode.
    """
    bundle = open_bundle(folder or order.bundle)
    length = order.max_length or bundle.manifest.max_length
    config = ModelConfig(kv_slots=SLOTS, max_length=length, decode=decode)
    is_cuda = bundle.manifest.backend == 'cuda'
    backend: Backend = (CudaBackend if is_cuda else TensorrtBackend)(bundle, config)
    backend.open()
    try:
        yield backend, bundle
    finally:
        backend.close()
