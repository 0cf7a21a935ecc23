# SPDX-License-Identifier: Apache-2.0
"""`penguin bench engine` and `penguin doctor` on a bundle of own kernels, on a fake GPU: the way,
not the speed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

from support.fake_gpu.cuda_bundles import computing_machine, cuda_bundle, small_checkpoint
from support.fake_gpu.installed import remove, use

from penguin_ros.benchmark.engine.rounds import run_here
from penguin_ros.benchmark.engine.tasks import EngineTask
from penguin_ros.benchmark.tasks import Target
from penguin_ros.doctor.engine_checks import engine
from penguin_ros.doctor.finding import State


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    use(computing_machine())
    yield cuda_bundle(
        small_checkpoint(tmp_path / 'checkpoint'), tmp_path / 'bundle', max_length=512
    )
    remove()


def test_a_round_runs_and_knows_what_a_token_reads(bundle: Path) -> None:
    found = run_here(EngineTask(Target(str(bundle)), max_tokens=3, is_short=True))
    assert found.error is None and len(found.tokens) == 3
    assert found.facts['name'] == 'cuda' and 'own kernels' in found.facts['way']
    stored = json.loads((bundle / 'network.json').read_text())
    of_llm = [
        each['byte_count']
        for name, each in stored.items()
        if name.startswith('llm.') and name != 'llm.rotation'
    ]
    assert found.facts['read_bytes_per_token'] == sum(of_llm)


def test_the_doctor_runs_the_bundle_and_says_with_what_it_could_be_compared(bundle: Path) -> None:
    ran, compared = engine(str(bundle), runner=run_here)
    assert (ran.topic, ran.state) == ('engine', State.OK) and 'first token' in ran.text
    assert compared.state is State.NOTE and 'no graphs for another runtime' in compared.text
