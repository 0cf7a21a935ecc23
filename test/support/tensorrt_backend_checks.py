# SPDX-License-Identifier: Apache-2.0
"""What tests of the TensorRT backend share."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.backend_kinds import tokens

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.tensorrt.backend import TensorrtBackend


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    """Compares row by row; only rounding may differ."""
    assert got.shape == expected.shape
    assert (
        np.linalg.norm(got - expected, axis=-1) < 1e-4 * np.linalg.norm(expected, axis=-1)
    ).all()


def decoder_of(backend: TensorrtBackend) -> Any:
    assert backend._session is not None
    return backend._session.decoder


def decode(backend: TensorrtBackend, slot: int, count: int) -> None:
    for token_id in tokens(8, count):
        backend.forward(slot, Chunk(np.array([token_id])), [-1])
