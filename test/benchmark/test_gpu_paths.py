# SPDX-License-Identifier: Apache-2.0
"""The comparison of ways on a GPU is rehearsed on a CPU from its first line to its last."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gpu_rehearsal import rehearsed

pytest.importorskip('torch', reason='torch is not installed')


@pytest.mark.slow
def test_it_runs_to_the_end_on_a_tiny_network(tmp_path: Path) -> None:
    found, printed = rehearsed('gpu_paths.py', tmp_path)
    sides = found['sides']
    assert set(sides) == {'torch, plain', 'torch, CUDA graphs'}
    for side in sides.values():
        assert {'first token, cold', 'question, watched clip', 'next caption'} <= set(
            side['medians']
        )
        assert all(milliseconds > 0 for milliseconds in side['medians'].values())
    first = found['agreement']['first']
    assert first['steps'] > 50 and first['disagreeing'] == 0 and first['largest'] < 1e-5
    exact = found['agreement, float32']['second']
    assert exact['steps'] > 25 and exact['disagreeing'] == 0
    assert exact['largest'] < 1e-5 and exact['largest_logit'] < 3e-5
    assert 'plain : graphs' in printed
