# SPDX-License-Identifier: Apache-2.0
"""The backend runs on onnxruntime 1.23.2, the newest for Python 3.10, in a folder and a process of
its own.

That version can neither write to a cache in place nor read opset 24, so it runs the two-part graph.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.wheels import installed

VERSION = '1.23.2'
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def environment() -> dict[str, str]:
    """The environment in which Python imports that version."""
    pytest.importorskip('onnx', reason='onnx is not installed')
    folder = installed(f'onnxruntime-{VERSION}', f'onnxruntime=={VERSION}')
    paths = filter(None, (str(folder), os.environ.get('PYTHONPATH', '')))
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    seen = run(environment, '-c', 'import onnxruntime; print(onnxruntime.__version__)')
    if seen.stdout.strip() != VERSION:
        pytest.skip(f'onnxruntime {VERSION} does not import here: {seen.stderr.strip()[-200:]}')
    return environment


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_the_contract_and_the_golden_values_hold_with_the_two_part_graph(
    environment: dict[str, str],
) -> None:
    names = ('test_contract', 'test_contract_forward', 'test_contract_slots')
    tests = [f'test/backends/{name}.py' for name in (*names, 'onnxruntime/test_backend')]
    done = run(
        environment,
        '-m',
        'pytest',
        '-q',
        '-rs',
        '-p',
        'no:cacheprovider',
        '-k',
        'onnxruntime or test_backend',
        *tests,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r'(\d+) passed', done.stdout)
    assert passed and int(passed[1]) > 60, done.stdout[-2000:]
    assert f'onnxruntime {VERSION} cannot write to a cache in place' in done.stdout, (
        'it was another version'
    )


def test_parity_holds_to_the_reference(environment: dict[str, str], golden_dir: Path) -> None:
    done = run(
        environment,
        '-m',
        'penguin_ros.cli.main',
        'parity',
        str(golden_dir),
        '--backend',
        'onnxruntime',
        '--case',
        'image_small',
        '--case',
        'text',
        '--set',
        'model.threads=1',
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'on onnxruntime, cpu, float32: 2 cases' in done.stdout
