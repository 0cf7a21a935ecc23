# SPDX-License-Identifier: Apache-2.0
"""`penguin build --backend tensorrt` and `penguin parity` on its bundle, on a fake GPU: the
reference's numbers at every step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_gpu.installed import Machine, remove, use
from support.tensorrt_build_checks import build_here

from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
from penguin_ros.backends.tensorrt.library import PLAIN, RTX
from penguin_ros.cli.main import main


@pytest.fixture(
    params=[
        (PLAIN, '10.3.0', (8, 7)),
        (PLAIN, '10.16.2', (8, 7)),
        (PLAIN, '11.4.1', (8, 7)),
        (RTX, '1.7.1.116', (8, 9)),
    ],
    ids=str,
)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    library, version, compute = request.param
    made = Machine(version, library=library)
    made.gpu.compute = compute
    use(made)
    yield made
    remove()


def test_what_penguin_build_makes_is_within_the_tolerance_of_the_reference(
    golden_dir: Path, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    build_here(monkeypatch)
    bundle, table = tmp_path / 'bundle', tmp_path / 'parity.json'
    options = [
        '--backend',
        'tensorrt',
        '--precision',
        'float32',
        '--max-length',
        '2048',
        '--max-rows',
        '64',
    ]
    assert main(['build', str(golden_dir / 'checkpoint'), *options, '--out', str(bundle)]) == 0
    record = read_engine_manifest(bundle)
    assert record is not None
    assert (record.library, record.tensorrt) == (machine.library, machine.version)
    assert main(['parity', str(golden_dir), '--bundle', str(bundle), '--json', str(table)]) == 0
    results = json.loads(table.read_text())
    assert results['backend']['name'] == 'tensorrt' and results['is_passed'] is True
    assert main(['build', str(bundle), '--backend', 'tensorrt']) == 0
