# SPDX-License-Identifier: Apache-2.0
"""A damaged bundle is a named error with the command that builds it again, wherever the damage is,
and never a crash.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.backends.base.manifest import FULL, TWO_PART
from penguin_ros.backends.onnxruntime.library import decoder_variant, load_library
from penguin_ros.checkpoint.checkpoint import open_checkpoint

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

# The graph of the LLM that this version of the library does not open.
UNUSED_DECODERS = {FULL: ('decoder_two_part.onnx',), TWO_PART: ('decoder.onnx',)}[
    decoder_variant(load_library())
]
PROGRAM = Path(__file__).resolve().parents[2] / 'support' / 'damaged_bundles.py'


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from penguin_ros.export.build import BuildOrder, build_bundle

    return build_bundle(
        open_checkpoint(tiny_checkpoint), tmp_path_factory.mktemp('whole') / 'bundle', BuildOrder()
    )


def outcomes(bundle: Path, work: Path, is_fitted: bool) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(bundle), str(work), str(int(is_fitted))],
        cwd=PROGRAM.parents[2],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, f'{done.stdout[-300:]}\n{done.stderr[-2000:]}'
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line['what']: line['result'] for line in lines}


@pytest.mark.slow
def test_any_change_of_any_file_is_found_before_the_library_sees_it(
    bundle: Path, tmp_path: Path
) -> None:
    found = outcomes(bundle, tmp_path, False)
    assert len(found) > 150
    others = {what: result for what, result in found.items() if not what.startswith('bundle.yaml')}
    assert all(
        result.startswith('BundleCorrupt: ') and 'penguin build ' in result
        for result in others.values()
    ), others
    manifests = {what: result for what, result in found.items() if what.startswith('bundle.yaml')}
    # The end of its last line, or a letter of a name, is no damage that could be told.
    assert all(result == 'runs' or result.startswith('Bundle') for result in manifests.values()), (
        manifests
    )
    assert list(manifests.values()).count('runs') <= 4 and not manifests[
        'bundle.yaml all zeros'
    ].startswith('runs')


@pytest.mark.slow
def test_damage_that_the_manifest_hides_is_a_named_error_too(bundle: Path, tmp_path: Path) -> None:
    found = outcomes(bundle, tmp_path, True)
    assert all(result.startswith(('Bundle', 'runs')) for result in found.values()), found
    unused = (*UNUSED_DECODERS, 'vision.onnx ')  # on a CPU
    runs = [
        what
        for what, result in found.items()
        if 'cut' in what and result == 'runs' and not what.startswith(unused)
    ]
    assert not runs and len(found) > 100
