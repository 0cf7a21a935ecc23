# SPDX-License-Identifier: Apache-2.0
"""What the processor that runs the tests can do."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest


def _has_int8_products() -> bool:
    if platform.machine() != 'x86_64':
        return True
    words = Path('/proc/cpuinfo').read_text(encoding='utf-8').split()
    return bool({'avx512_vnni', 'avx_vnni'} & set(words))


int8_products = pytest.param(
    'w8a8',
    marks=pytest.mark.skipif(
        not _has_int8_products(),
        reason='without VNNI, ONNX Runtime adds pairs of int8 products in 16 bits, which overflow',
    ),
)
"""The precision w8a8, on processors where ONNX Runtime computes it exactly."""
