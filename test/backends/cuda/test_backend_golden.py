# SPDX-License-Identifier: Apache-2.0
"""`penguin build --backend cuda` and `penguin parity` on its bundle, on a fake GPU that computes
the kernels in numpy: the reference's numbers at every step, in 16 bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.fake_gpu.cuda_bundles import computing_machine, stand_ins
from support.fake_gpu.installed import Machine, remove, use
from support.slow_parts import sampled

from penguin_ros.cli.main import main
from penguin_ros.export.cuda import kernel_files


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(kernel_files, 'compile_ahead', stand_ins)
    monkeypatch.setattr('penguin_ros.cli.build_kernels.triton_folder', lambda: Path('here'))
    made = computing_machine()
    use(made)
    yield made
    remove()


@pytest.mark.parametrize('precision', sampled(['float16', 'bfloat16'], ['float16']))
def test_what_penguin_build_makes_is_within_the_tolerance_of_the_reference(
    golden_dir: Path,
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    bundle, table = tmp_path / 'bundle', tmp_path / 'parity.json'
    options = ['--backend', 'cuda', '--precision', precision, '--max-length', '2048']
    assert main(['build', str(golden_dir / 'checkpoint'), *options, '--out', str(bundle)]) == 0
    assert main(['parity', str(golden_dir), '--bundle', str(bundle), '--json', str(table)]) == 0
    results = json.loads(table.read_text())
    assert results['backend']['name'] == 'cuda' and results['is_passed'] is True
