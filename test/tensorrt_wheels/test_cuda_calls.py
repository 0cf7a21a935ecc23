# SPDX-License-Identifier: Apache-2.0
"""The calls of `backends/cuda/device` reach the real CUDA runtime: without a driver each ends
in CUDA's own error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.wheels import CUDA_VERSIONS, cuda_bindings

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json
from cuda.bindings import runtime as cudart
from penguin_ros.backends.cuda.buffers import StridedRows
from penguin_ros.backends.cuda.device import CudaDevice, versions
from penguin_ros.errors import BackendError, BackendUnavailable

found = {}
if cudart.cudaGetDeviceCount()[0] == cudart.cudaError_t.cudaSuccess:
    found['a GPU'] = 'here'
else:
    found['versions'] = versions()
    try:
        CudaDevice()
    except BackendUnavailable as error:
        found['open'] = str(error)
    device = object.__new__(CudaDevice)
    device._stream, device._allocated = cudart.cudaStream_t(0), {}
    device._allocated[4096] = lambda: cudart.cudaFree(4096)
    calls = {
        'gpu': lambda: device.gpu,
        'memory': device.memory,
        'allocate': lambda: device.allocate(1000),
        'allocate_host': lambda: device.allocate_host(1000),
        'free': lambda: device.free(4096),
        'copy': lambda: device.copy(4096, 8192, 16),
        'copy_rows': lambda: device.copy_rows(StridedRows(4096, 64), StridedRows(8192, 32), 16, 3),
        'zero_rows': lambda: device.zero_rows(StridedRows(4096, 64), 16, 3),
        'synchronize': device.synchronize,
        'capture': lambda: device.capture(lambda: None),
        'launch': lambda: device.launch(4096)}
    for name, call in calls.items():
        try:
            found[name] = 'returned ' + str(call())
        except BackendError as error:
            found[name] = str(error)
    found['stream'] = device.stream
    device.close()
    found['graph handle'] = int(cudart.cudaGraphExec_t(1234))
    found['no memory'] = int(cudart.cudaError_t.cudaErrorMemoryAllocation)
print(json.dumps(found))
"""


@pytest.mark.parametrize('version', CUDA_VERSIONS)
def test_every_call_is_understood_by_the_real_bindings(version: str) -> None:
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join((str(ROOT), str(cuda_bindings(version)))),
    }
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if 'a GPU' in found:
        pytest.skip('there is a GPU here, so the calls would be carried out')
    major, minor = version.split('.')[:2]
    assert found.pop('versions') == [0, int(major) * 1000 + int(minor) * 10]
    opened = found.pop('open')
    assert 'no CUDA device can be used: there is no CUDA driver' in opened
    assert (found.pop('stream'), found.pop('graph handle'), found.pop('no memory')) == (0, 1234, 2)
    assert len(found) == 11
    for name, text in found.items():
        assert 'driver' in text and ' failed: ' in text, f'{name}: {text}'
