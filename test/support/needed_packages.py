# SPDX-License-Identifier: Apache-2.0
"""The libraries without which the tests of this folder are skipped. Imported before all else that
needs them.
"""

from __future__ import annotations

import pytest

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
onnxruntime = pytest.importorskip(
    'onnxruntime', minversion='1.25', reason='TensorScatter needs onnxruntime 1.25'
)
onnxruntime.set_default_logger_severity(3)
