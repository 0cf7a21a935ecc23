# SPDX-License-Identifier: Apache-2.0
"""Which engines are kept, which are stale, and that old ones stay until new ones have loaded.

On a fake GPU with fake TensorRTs of several versions; test/tensorrt_wheels builds with a real
builder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.boards import memory, orin_nano, write
from support.fake_gpu.bundles import OPTIONS, tensorrt_bundle
from support.fake_gpu.installed import Machine, use
from support.tensorrt_build_checks import COMMAND, files, runs

from penguin_ros.backends.tensorrt.engine_manifest import FOLDER, MANIFEST
from penguin_ros.errors import (
    BuildError,
    BundleCorrupt,
    BundleOutdated,
)
from penguin_ros.export.tensorrt.build import build_engines


def test_engines_that_fit_are_kept(bundle: Path, machine: Machine) -> None:
    first = build_engines(bundle, OPTIONS)
    built, before = len(machine.built), files(bundle)
    assert (
        build_engines(bundle, OPTIONS) == first
        and len(machine.built) == built
        and files(bundle) == before
    )
    build_engines(bundle, replace(OPTIONS, max_rows=24))
    assert len(machine.built) == built + 2, 'only the decoder depends on it'
    build_engines(bundle, replace(OPTIONS, max_rows=24, is_forced=True))
    assert len(machine.built) == built + 6


def other_version(machine: Machine, bundle: Path) -> str:
    use(replace(machine, version='11.4.1'))
    return r'built with TensorRT 10.16.2, here is TensorRT 11.4.1'


def other_gpu(machine: Machine, bundle: Path) -> str:
    machine.gpu.name, machine.gpu.compute = 'Fake Thor', (11, 0)
    return r'built on Fake Orin \(SM 8.7, 8 multiprocessors, 16 GB\), here is Fake Thor \(SM 11.0'


def other_module(machine: Machine, bundle: Path) -> str:
    """An Orin with half the multiprocessors; CUDA calls both by one name."""
    machine.gpu.sm_count = 4
    return r'8 multiprocessors, 16 GB\), here is Fake Orin \(SM 8.7, 4 multiprocessors, 16 GB\)'


def other_memory(machine: Machine, bundle: Path) -> str:
    machine.gpu.nominal_bytes = 7_800_000_000
    return r'8 multiprocessors, 16 GB\), here is Fake Orin \(SM 8.7, 8 multiprocessors, 8 GB\)'


def other_graph(machine: Machine, bundle: Path) -> str:
    rebuilt = bundle.with_name('rebuilt')
    checkpoint = json.loads((bundle / 'checkpoint.json').read_text())
    tensorrt_bundle(Path(checkpoint), rebuilt, max_length=256)
    shutil.copytree(bundle / FOLDER, rebuilt / FOLDER)
    shutil.rmtree(bundle)
    rebuilt.rename(bundle)
    return r'the graph of the vision has changed|the graph of the decoder has changed'


@pytest.mark.parametrize(
    'change', [other_version, other_gpu, other_module, other_memory, other_graph]
)
def test_a_stale_engine_is_refused_with_the_command_that_builds_it_again(
    change: Any, bundle: Path, machine: Machine, tiny_checkpoint: Path
) -> None:
    (bundle / 'checkpoint.json').write_text(json.dumps(str(tiny_checkpoint)))
    build_engines(bundle, OPTIONS)
    reason = change(machine, bundle)
    with pytest.raises(BundleOutdated, match=f'({reason}).*{COMMAND}'):
        runs(bundle)
    build_engines(bundle, OPTIONS)
    assert np.isfinite(runs(bundle)).all()
    assert len(list((bundle / FOLDER).glob('*.plan'))) == 2, 'the old ones are gone'


def test_engines_of_another_power_mode_run_with_a_warning_and_are_built_again_when_asked_for(
    bundle: Path,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = orin_nano(tmp_path / 'root')
    memory(root, 16_000_000, 15_000_000)
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    build_engines(bundle, OPTIONS)
    runs(bundle)
    assert 'timed under' not in caplog.text
    write(root, 'var/lib/nvpmodel/status', 'pmode:0002')
    write(root, 'etc/nv_tegra_release', '# R36 (release), REVISION: 5.0, GCID: 1')
    assert np.isfinite(runs(bundle)).all()
    warned = 'timed under Jetson Linux 36.4.7, here is 36.5.0; power mode 25W, here is MAXN_SUPER'
    assert warned in caplog.text
    built = len(machine.built)
    build_engines(bundle, OPTIONS)
    assert len(machine.built) == built + 4
    caplog.clear()
    runs(bundle)
    assert 'timed under' not in caplog.text


def test_the_old_engines_stay_until_the_new_ones_have_loaded(
    bundle: Path, machine: Machine
) -> None:
    build_engines(bundle, OPTIONS)
    before = files(bundle)
    newer = Machine(
        '11.4.1',
        machine.gpu,
        refuses=lambda model: (
            'no' if 'pixel_patches' in {value.name for value in model.graph.input} else ''
        ),
    )
    use(newer)
    with pytest.raises(BuildError, match='vision'):
        build_engines(bundle, OPTIONS)
    after = files(bundle)
    assert {name: after[name] for name in before} == before
    use(machine)
    assert np.isfinite(runs(bundle)).all()


def test_an_engine_that_does_not_load_replaces_nothing(
    bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.fake_gpu.engine import BuiltEngine

    build_engines(bundle, OPTIONS)
    before = files(bundle)
    with monkeypatch.context() as patch:
        patch.setattr(BuiltEngine, 'to_bytes', lambda self: b'nothing that loads')
        with pytest.raises(Exception, match='does not load'):
            build_engines(bundle, replace(OPTIONS, is_forced=True))
    assert files(bundle) == before and np.isfinite(runs(bundle)).all()


@pytest.mark.parametrize(
    'damage', ['truncated', 'changed', 'missing', 'record', 'record of another format']
)
def test_a_damaged_engine_is_found_and_built_again(
    damage: str, bundle: Path, machine: Machine
) -> None:
    build_engines(bundle, OPTIONS)
    plan, record = next((bundle / FOLDER).glob('decoder-*.plan')), bundle / FOLDER / MANIFEST
    content = plan.read_bytes()
    if damage.startswith('record'):
        record.write_text('{"format": 1, "engines": 3' if damage == 'record' else '{"format": 99}')
    elif damage == 'missing':
        plan.unlink()
    else:
        plan.write_bytes(content[:-7] if damage == 'truncated' else content[:-1] + b'?')
    with pytest.raises((BundleCorrupt, BundleOutdated), match=COMMAND):
        runs(bundle)
    build_engines(bundle, OPTIONS)
    assert np.isfinite(runs(bundle)).all()


def test_an_interrupted_build_leaves_what_was_there(bundle: Path, machine: Machine) -> None:
    build_engines(bundle, OPTIONS)
    before = files(bundle)

    def interrupt(stage: str, fraction: float) -> None:
        if fraction > 0 and stage.startswith('vision'):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engines(bundle, replace(OPTIONS, is_forced=True), interrupt)
    after = files(bundle)
    assert {name: after[name] for name in before if name.endswith('.plan')} == {
        name: content for name, content in before.items() if name.endswith('.plan')
    }
    assert not [name for name in after if name.endswith('.new')] and np.isfinite(runs(bundle)).all()
