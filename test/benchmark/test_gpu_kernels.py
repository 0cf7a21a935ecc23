# SPDX-License-Identifier: Apache-2.0
"""The benchmark of own kernels is rehearsed without a GPU, from its first line to its last."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gpu_rehearsal import rehearsed

pytest.importorskip('torch', reason='torch is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')


@pytest.mark.slow
def test_it_runs_to_the_end_on_a_tiny_network(tmp_path: Path) -> None:
    found, printed = rehearsed('gpu_kernels.py', tmp_path)
    kernels = found['kernels, tiny']
    assert len(kernels) == 42 and all(each['is right'] for each in kernels.values())
    assert list(kernels)[0] == 'one.gated' and kernels['one.gated']['GB/s'] > 0
    sides = found['whole network, ms']
    assert set(sides) == {'own kernels, int4', 'torch, plain', 'torch, CUDA graphs'}
    assert {'first token, cold', 'token at 60', '16 rows at 60'} <= set(sides['own kernels, int4'])
    assert found['schedule against row by row']['disagreeing'] == 0
    assert set(found['cold start, s']) == {'machine code', 'PTX, compiled', 'PTX, kept'}
    assert 'these times mean nothing' in printed
