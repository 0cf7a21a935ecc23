# SPDX-License-Identifier: Apache-2.0
"""The benchmark of own kernels is rehearsed without a GPU, from its first line to its last."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='torch is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_runs_to_the_end_on_a_tiny_network(tmp_path: Path) -> None:
    program = ROOT / 'benchmarks' / 'gpu_kernels.py'
    result = subprocess.run(
        [sys.executable, program, '--tiny', '--rounds', '1', '--json', tmp_path / 'found.json'],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / 'found.json').read_text())
    kernels = found['kernels, tiny']
    assert len(kernels) == 42 and all(each['is right'] for each in kernels.values())
    assert list(kernels)[0] == 'one.gated' and kernels['one.gated']['GB/s'] > 0
    sides = found['whole network, ms']
    assert set(sides) == {'own kernels, int4', 'torch, plain', 'torch, CUDA graphs'}
    assert {'first token, cold', 'token at 60', '16 rows at 60'} <= set(sides['own kernels, int4'])
    assert found['schedule against row by row']['disagreeing'] == 0
    assert set(found['cold start, s']) == {'machine code', 'PTX, compiled', 'PTX, kept'}
    assert 'these times mean nothing' in result.stdout
