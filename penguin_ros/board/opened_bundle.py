# SPDX-License-Identifier: Apache-2.0
"""The bundle of an order on its backend, open while a step lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.board.steps import StepOrder
from penguin_ros.config import ModelConfig

SLOTS = 2


@contextmanager
def opened(order: StepOrder, decode: str = 'auto') -> Iterator[tuple[TensorrtBackend, Bundle]]:
    """Gives the open backend, and closes it; see the setting model.decode."""
    bundle = open_bundle(order.bundle)
    config = ModelConfig(kv_slots=SLOTS, max_length=bundle.manifest.max_length, decode=decode)
    backend = TensorrtBackend(bundle, config)
    backend.open()
    try:
        yield backend, bundle
    finally:
        backend.close()
