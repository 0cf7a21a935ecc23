# SPDX-License-Identifier: Apache-2.0
"""A build holds a few chunks of one matrix, never the model: measured, and for the published sizes
enforced by a limit.

Those take minutes and up to 40 GB of disk: set PENGUIN_LARGE_BUILDS to 2b, 8b or both (2b,8b).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.graph_runs import checkpoint_of, stack

from penguin_ros.testing.random_checkpoint import write_random_checkpoint

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1024**2
LIMITS = {'2b': 4_000_000_000, '8b': 8_000_000_000}
CHOSEN = [shape for shape in os.environ.get('PENGUIN_LARGE_BUILDS', '').split(',') if shape]

BUILD = """
import json, resource, sys, threading, time
from pathlib import Path
source, target, backend, precision, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import BuildOrder, BundleBuilder
from penguin_ros.export.precision import BuildChoice

peak, is_over = 0, threading.Event()

def watch():
    global peak
    while not is_over.wait(0.01):
        lines = Path("/proc/self/status").read_text().splitlines()
        found = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
        peak = max(peak, found * 1024)

watcher = threading.Thread(target=watch)
watcher.start()
start = time.monotonic()
order = BuildOrder(BuildChoice(backend, precision), threads=2)
builder = BundleBuilder(open_checkpoint(source), order)
builder.build(Path(target))
is_over.set()
watcher.join()
seconds, estimate = time.monotonic() - start, builder.estimate.memory_bytes
print(json.dumps({"peak": peak, "seconds": seconds, "estimate": estimate}))
"""


def build(
    source: Path, target: Path, backend: str, precision: str, limit: int = 0
) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, '-c', BUILD, source, target, backend, precision, str(limit)],
        check=False,
        text=True,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    measured: dict[str, float] = json.loads(done.stdout)
    print(f'{target.name}: {measured}')
    return measured


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its head takes 172 MB in float32, the whole model 242 MB."""
    return checkpoint_of(
        tmp_path_factory.mktemp('source') / 'c',
        dtype='bfloat16',
        vocabulary_size=42000,
        llm=stack(8, 4, 128, hidden=1024, ffn=2048),
    ).path


@pytest.mark.parametrize(
    'backend, precision',
    [('onnxruntime', 'int4'), ('onnxruntime', 'float32'), ('tensorrt', 'int8')],
)
def test_a_build_takes_less_memory_than_one_matrix_of_the_model(
    source: Path, tmp_path: Path, backend: str, precision: str
) -> None:
    measured = build(source, tmp_path / 'b', backend, precision)
    assert measured['peak'] < 150 * MEGABYTE
    assert measured['peak'] < measured['estimate']


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.skipif(not CHOSEN, reason='PENGUIN_LARGE_BUILDS names no shape (2b, 8b)')
@pytest.mark.parametrize('shape', CHOSEN)
def test_the_published_sizes_are_built_within_their_limit(tmp_path: Path, shape: str) -> None:
    source = write_random_checkpoint(tmp_path / 'c', shape, dtype='bfloat16')
    measured = build(source, tmp_path / shape, 'onnxruntime', 'int4', LIMITS[shape])
    assert measured['peak'] < measured['estimate'] < LIMITS[shape]
