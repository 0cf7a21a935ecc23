# SPDX-License-Identifier: Apache-2.0
"""Progress, timing cache, memory, and what is refused before anything is built.

On a fake GPU with fake TensorRTs of several versions; test/tensorrt_wheels builds with a real
builder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.boards import memory, orin_nano
from support.fake_gpu.bundles import OPTIONS, opened, tensorrt_bundle
from support.fake_gpu.installed import Machine, remove, use
from support.tensorrt_build_checks import files

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.tensorrt.library import Library
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import (
    BackendUnavailable,
    BuildError,
    BuildRefused,
    NotEnoughSpace,
)
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.tensorrt.build import build_engines


def test_progress_names_the_stage_and_rises(bundle: Path, machine: Machine) -> None:
    seen: list[tuple[str, float]] = []
    build_engines(bundle, OPTIONS, lambda stage, fraction: seen.append((stage, fraction)))
    assert [stage for stage, fraction in seen if fraction == 0] == [
        'decoder: window, one copy of the weights, two layers',
        'decoder: window, one copy of the weights',
        'vision: fused, two layers',
        'vision: fused',
    ]
    for stage in dict(seen):
        fractions = [fraction for name, fraction in seen if name == stage]
        assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) == 3


def test_what_tensorrt_warned_of_is_shown_once_and_kept_with_its_lines_about_memory(
    bundle: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = build_engines(bundle, OPTIONS)
    warned = [text for text in caplog.messages if 'Detected layernorm' in text]
    assert [text.partition(': ')[0] for text in warned] == [
        'TensorRT, building the decoder',
        'TensorRT, building the vision',
    ]
    for engine in manifest.engines:
        assert engine.record.warnings == ('Detected layernorm nodes in FP16.',)
        assert engine.record.memory_lines == ('Total Weights Memory: 1234 bytes',)
        assert engine.scratch_bytes > 0


def test_the_timing_cache_is_kept_per_version_and_gpu_and_one_of_another_is_replaced(
    bundle: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    options = replace(OPTIONS, timing_cache=None)
    build_engines(bundle, options)
    file = tmp_path / 'cache' / 'penguin_ros' / 'tensorrt-10.16.2-Fake-Orin-sm8.7-8x-16gb.timing'
    assert file.read_bytes() == b'....', 'one addition per engine, and per trial on two layers'
    build_engines(bundle, replace(options, is_forced=True))
    assert file.read_bytes() == b'........'
    file.write_bytes(b'other GPU')
    build_engines(bundle, replace(options, is_forced=True))
    assert file.read_bytes() == b'....'


@pytest.mark.parametrize('is_integrated', [True, False])
def test_too_little_memory_is_refused_before_building_with_the_numbers_and_the_remedy(
    bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, is_integrated: bool
) -> None:
    """The machine's memory counts on a Jetson, the GPU's elsewhere."""
    from penguin_ros.export.tensorrt import memory_gate

    machine.gpu.is_integrated = is_integrated
    machine.gpu.total_bytes = 400_000_000 if is_integrated else 500_000_000
    monkeypatch.setattr(memory_gate, 'free_memory', lambda: 500_000_000 if is_integrated else 1)
    with pytest.raises(
        NotEnoughSpace, match=r'1\.\d\d GB of memory: 0\.50 GB are free.*multi-user.target'
    ) as caught:
        build_engines(bundle, OPTIONS)
    assert caught.value.needed > caught.value.free == 500_000_000
    assert machine.built == [] and files(bundle) == {}


@pytest.mark.parametrize(('cma_free', 'is_named'), [(60_000, True), (0, False)])
def test_a_small_pool_of_contiguous_memory_is_named_where_there_is_one(
    bundle: Path,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cma_free: int,
    is_named: bool,
) -> None:
    root = memory(orin_nano(tmp_path / 'root'), 7_802_000, 500_000, cma_free)
    monkeypatch.setenv('PENGUIN_SYSTEM_ROOT', str(root))
    with pytest.raises(NotEnoughSpace) as caught:
        build_engines(bundle, OPTIONS)
    assert ('cma=950M' in caught.value.fix and '61 MB' in caught.value.fix) is is_named


@pytest.mark.parametrize(('version', 'copies'), [('10.3.0', 3), ('10.16.2', 2)])
def test_the_gate_counts_the_copies_of_the_weights_that_this_tensorrt_makes(
    bundle: Path, version: str, copies: int
) -> None:
    from penguin_ros.backends.base.bundle import open_bundle
    from penguin_ros.board_memory.memory_plan import Room
    from penguin_ros.export.tensorrt.memory_gate import check_memory
    from penguin_ros.export.tensorrt.profiles import ProfileSizes

    with pytest.raises(NotEnoughSpace) as caught:
        check_memory(
            'decoder',
            10**9,
            open_bundle(bundle),
            ProfileSizes(48, 256),
            Room(8 * 10**9, 10**9, True),
            Library('tensorrt', version),
        )
    assert copies * 10**9 + 1.6e9 < caught.value.needed < copies * 10**9 + 1.7e9


def test_forms_after_one_that_ran_out_of_memory_are_not_tried(
    bundle: Path, machine: Machine
) -> None:
    machine.refuses = lambda model: 'Error Code 2: OutOfMemory (Requested size was 1075072515)'
    with pytest.raises(
        BuildError, match=r'memory ran out while building decoder: window.*1075072515.*not tried'
    ):
        build_engines(bundle, OPTIONS)
    assert len(machine.built) == 1


def test_a_bundle_for_another_backend_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    folder = build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder())
    with pytest.raises(BuildRefused, match=r'no graphs for TensorRT.*onnxruntime'):
        build_engines(folder, OPTIONS)


def test_a_length_that_leaves_caches_unaligned_is_refused_with_one_that_does_not(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    folder = tensorrt_bundle(tiny_checkpoint, tmp_path / 'bundle', max_length=1000)
    with pytest.raises(BuildRefused, match='--max-length 1008'):
        build_engines(folder, OPTIONS)


@pytest.mark.parametrize('what', ['no GPU', 'TensorRT 8.6'])
def test_without_the_machine_for_it_nothing_is_built(what: str, bundle: Path) -> None:
    machine = Machine('8.6.1' if what == 'TensorRT 8.6' else '10.3.0')
    machine.gpu.is_present = False
    use(machine)
    with pytest.raises(
        BackendUnavailable, match='JetPack 6.2' if what == 'TensorRT 8.6' else 'no CUDA device'
    ):
        build_engines(bundle, OPTIONS)
    remove()


def test_features_reach_the_decoder_in_its_format(
    tiny_checkpoint: Path, tmp_path: Path, machine: Machine
) -> None:
    """The encoder computes in float32 and the decoder in float16."""
    from support.backend_kinds import frame, run_to_end

    from penguin_ros.backends.base.backend import FeatureSpan
    from penguin_ros.export.precision import BuildChoice

    choice = BuildChoice('tensorrt', 'float16', vision='float32')
    folder = build_bundle(
        open_checkpoint(tiny_checkpoint), tmp_path / 'bundle', BuildOrder(choice, max_length=64)
    )
    backend = opened(machine, folder)
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    encoded, projected = (
        backend.read_features(features, stage) for stage in ('encoded', 'projected')
    )
    assert np.array_equal(projected, projected.astype(np.float16)) and not np.array_equal(
        encoded, encoded.astype(np.float16)
    )
    logits = backend.forward(
        backend.new_slot(), Chunk(np.arange(9), (FeatureSpan(1, features, 0, 6),)), [-1]
    )
    assert np.isfinite(logits).all()
    backend.close()
