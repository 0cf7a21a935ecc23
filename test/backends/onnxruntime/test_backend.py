# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime backend against golden values of the reference, its cache in place, and what it
refuses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end, tokens
from support.golden_chunks import CASES, error, golden_chunk, golden_frames

from penguin_ros.backends.base.backend import Chunk, Features, FeatureSpan
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.onnxruntime.library import OLDEST_IN_PLACE, version_of
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import (
    BackendError,
    BackendUnavailable,
    BundleMismatch,
    OutOfMemory,
    SettingError,
)

onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

is_in_place = version_of(onnxruntime) >= OLDEST_IN_PLACE
VARIANTS = ('full', 'two_part') if is_in_place else ('two_part',)


@pytest.fixture(scope='module')
def golden_bundle(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from penguin_ros.export.build import BuildOrder, build_bundle

    return open_bundle(
        build_bundle(
            open_checkpoint(golden_dir / 'checkpoint'),
            tmp_path_factory.mktemp('golden') / 'bundle',
            BuildOrder(max_length=1024),
        )
    )


@pytest.fixture(scope='module')
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from penguin_ros.export.build import BuildOrder, build_bundle

    return open_bundle(
        build_bundle(
            open_checkpoint(tiny_checkpoint),
            tmp_path_factory.mktemp('tiny') / 'bundle',
            BuildOrder(),
        )
    )


@pytest.mark.parametrize('rows', [64, 4096])
@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('name', CASES)
def test_golden_values_come_out(
    golden_dir: Path, golden_bundle: Bundle, name: str, variant: str, rows: int
) -> None:
    case = np.load(golden_dir / 'cases' / f'{name}.npz')
    backend = OnnxBackend(
        golden_bundle, replace(CONFIG, max_length=1024, encode_patches=rows), variant
    )
    backend.open()
    features: list[Features] = []
    if 'grid_sizes' in case:
        features = run_to_end(backend.encode(golden_frames(case)))[0]
        for stage, key in (('encoded', 'vision_features'), ('projected', 'projected')):
            assert (
                error(
                    np.concatenate([backend.read_features(each, stage) for each in features]),
                    case[key],
                )
                < 1e-5
            )
    slot, chunk = (
        backend.new_slot(),
        golden_chunk(case, features, golden_bundle.shape.image_token_id),
    )
    logits = backend.forward(slot, chunk, range(len(chunk.token_ids)))
    assert np.array_equal(logits.argmax(axis=1), case['logits_argmax'].reshape(-1))
    for token_id, expected in zip(case['generated'].reshape(-1), case['step_logits'], strict=True):
        assert error(logits[-1], expected) < 1e-4
        logits = backend.forward(slot, Chunk(np.array([token_id])), [0])
    backend.close()


@pytest.mark.skipif(not is_in_place, reason='this onnxruntime cannot write to a cache in place')
def test_past_and_present_are_one_buffer_in_which_only_the_new_positions_change(
    tiny_bundle: Bundle,
) -> None:
    backend = OnnxBackend(tiny_bundle, CONFIG)
    backend.open()
    slot = backend.new_slot()
    backend.forward(slot, Chunk(tokens(1, 20)))
    decoder = backend._opened().decoder
    place = backend._slots.index(slot)
    buffers, binding = decoder.cache._flat[place], decoder.steps.binding(place)  # type: ignore[union-attr]
    before, addresses = (
        [buffer.copy() for buffer in buffers],
        [buffer.ctypes.data for buffer in buffers],
    )
    backend.forward(slot, Chunk(tokens(2, 3)), [-1])
    outputs = {value.data_ptr() for value in binding.get_outputs()}
    assert len(outputs) == len(buffers) + 1 and outputs > set(addresses), (
        'beside the logits, each present is where its past was'
    )
    assert [buffer.ctypes.data for buffer in decoder.cache._flat[place]] == addresses  # type: ignore[union-attr]
    for old, new in zip(before, buffers, strict=True):
        changed = (old != new).reshape(2, 64, -1).any(axis=2)
        assert changed[:, 20:23].all() and not changed[:, :20].any() and not changed[:, 23:].any()


def test_a_slot_shows_the_graph_little_more_than_it_holds(golden_bundle: Bundle) -> None:
    backend = OnnxBackend(golden_bundle, replace(CONFIG, max_length=1024))
    backend.open()
    slot = backend.new_slot()
    decoder = backend._opened().decoder
    place, seen = backend._slots.index(slot), []
    for rows in (1, 63, 1, 300, 1):
        backend.forward(slot, Chunk(tokens(1, rows)))
        seen.append(decoder.cache.length(place))
    assert seen == [64, 64, 128, 384, 384]
    backend.truncate(slot, 10)
    backend.forward(slot, Chunk(tokens(1, 1)))
    assert decoder.cache.length(place) == 64


def test_what_a_slot_held_before_cannot_spoil_it(tiny_bundle: Bundle) -> None:
    """A network that overflowed leaves NaN in the cache: zero times NaN is NaN, also where the mask
    hides it.
    """
    for variant in VARIANTS:
        backend = OnnxBackend(tiny_bundle, replace(CONFIG, kv_slots=1), variant)
        backend.open()
        slot = backend.new_slot()
        expected = backend.forward(slot, Chunk(tokens(1, 30)), [-1])
        features = run_to_end(backend.encode([frame(1)]))[0][0]
        features.stages['projected'][:] = np.nan  # type: ignore[attr-defined]
        poisoned = backend.forward(
            slot, Chunk(tokens(2, 8), (FeatureSpan(0, features, 0, 6),)), [-1]
        )
        assert np.isnan(poisoned).all()
        backend.truncate(slot, 29)
        again = backend.forward(slot, Chunk(tokens(1, 30)[29:]), [-1])
        assert error(again, expected) < 1e-5
        backend.forward(slot, Chunk(tokens(2, 8), (FeatureSpan(0, features, 0, 6),)))
        backend.free_slot(slot)
        assert np.array_equal(
            backend.forward(backend.new_slot(), Chunk(tokens(1, 30)), [-1]), expected
        )


def test_a_failed_call_leaves_what_the_slot_held(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = OnnxBackend(tiny_bundle, CONFIG)
    backend.open()
    slot, ids = backend.new_slot(), tokens(1, 12)
    expected = backend.forward(slot, Chunk(ids), [-1])
    backend.truncate(slot, 11)
    decoder = backend._opened().decoder
    with monkeypatch.context() as patch:
        patch.setattr(
            decoder.steps, '_graph', replace(decoder.steps._graph, vocabulary_size=7)
        )  # the buffer for the logits no longer fits, as the library finds out
        with pytest.raises(BackendError, match='appending a chunk failed'):
            backend.forward(slot, Chunk(tokens(2, 5)), [-1])
    assert backend.slot_length(slot) == 11
    assert error(backend.forward(slot, Chunk(ids[11:]), [-1]), expected) < 1e-5


def test_the_whole_encoder_gives_what_its_stages_give(tiny_bundle: Bundle) -> None:
    """On a GPU a frame is encoded in one piece."""

    def features(bundle: Bundle) -> list[np.ndarray]:
        backend = OnnxBackend(bundle, CONFIG)
        backend.open()
        frames = [frame(1), frame(2, 7, 9, 1), frame(3, 6, 9, 3)]
        encoded, slices = run_to_end(backend.encode(frames))
        assert slices == (3 if bundle is whole else 3 * (bundle.shape.encoder.layers + 1))
        return [
            backend.read_features(each, stage)
            for each in encoded
            for stage in ('encoded', 'projected')
        ]

    graphs = tuple(graph for graph in tiny_bundle.manifest.graphs if graph.part != 'vision_stage')
    whole = dataclasses.replace(
        tiny_bundle, manifest=dataclasses.replace(tiny_bundle.manifest, graphs=graphs)
    )
    for got, expected in zip(features(whole), features(tiny_bundle), strict=True):
        assert error(got, expected) < 1e-5


def test_the_description_follows_bundle_and_settings(tiny_bundle: Bundle) -> None:
    description, llm = (
        OnnxBackend(tiny_bundle, replace(CONFIG, max_length=1 << 16, device='auto')).open(),
        tiny_bundle.shape.llm,
    )
    assert (description.name, description.device, description.precision) == (
        'onnxruntime',
        'cpu',
        'float32',
    )
    assert (description.model_name, description.model_digest) == (
        tiny_bundle.name,
        tiny_bundle.digest,
    )
    assert description.max_length == tiny_bundle.manifest.max_length == 4096, (
        'a slot is not longer than the bundle was built for'
    )
    assert description.slot_bytes == llm.layers * 2 * llm.kv_heads * 4096 * llm.head_dim * 4


def test_the_newest_graph_that_the_version_runs_is_taken(tiny_bundle: Bundle) -> None:
    backend = OnnxBackend(tiny_bundle, CONFIG)
    backend.open()
    names = {item.name for item in backend._opened().decoder.steps._session.get_inputs()}
    assert ('write_indices' in names) == is_in_place


@pytest.mark.parametrize(
    'device', [{'device': 'cuda'}, {'provider': 'cuda'}, {'provider': 'tensorrt', 'device': 'cuda'}]
)
def test_a_provider_that_this_onnxruntime_lacks_is_a_named_error(
    tiny_bundle: Bundle, device: dict[str, str]
) -> None:
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this onnxruntime has CUDA')
    with pytest.raises(BackendUnavailable, match='pip install "onnxruntime-gpu.cuda,cudnn."'):
        OnnxBackend(tiny_bundle, replace(CONFIG, **{'device': 'auto', **device})).open()  # type: ignore[arg-type]


def test_device_and_provider_must_not_contradict_each_other(tiny_bundle: Bundle) -> None:
    for device, provider in (('cpu', 'cuda'), ('cpu', 'tensorrt'), ('cuda', 'cpu')):
        with pytest.raises(SettingError, match='model.provider'):
            OnnxBackend(tiny_bundle, replace(CONFIG, device=device, provider=provider)).open()


def test_slots_beyond_the_memory_are_a_named_error(tiny_bundle: Bundle) -> None:
    huge = dataclasses.replace(
        tiny_bundle, manifest=dataclasses.replace(tiny_bundle.manifest, max_length=1 << 45)
    )
    backend = OnnxBackend(huge, replace(CONFIG, max_length=1 << 45))
    with pytest.raises(OutOfMemory, match='allocating 1 KV slots of 35184372088832 positions'):
        backend.open()
    with pytest.raises(BackendError, match='not open'):
        backend.new_slot()
    backend.close()


def rewritten(bundle: Bundle, change: Callable[[Any], Any]) -> Bundle:
    """The bundle with another description of its graphs."""
    graphs = tuple(change(graph) for graph in bundle.manifest.graphs)
    return dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, graphs=graphs))


def resized(tensor: Any) -> Any:
    return dataclasses.replace(
        tensor, shape=tuple(size + 1 if isinstance(size, int) else size for size in tensor.shape)
    )


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            lambda graph: dataclasses.replace(graph, inputs=graph.inputs[:-1]),
            'other inputs|does not fit',
        ),
        (
            lambda graph: dataclasses.replace(graph, inputs=tuple(map(resized, graph.inputs))),
            'other inputs|does not fit',
        ),
        (
            lambda graph: dataclasses.replace(graph, outputs=graph.outputs[::-1][:-1]),
            'other outputs|does not fit',
        ),
        (lambda graph: dataclasses.replace(graph, part='other'), 'has no decoder graph'),
        (
            lambda graph: dataclasses.replace(
                graph,
                outputs=tuple(
                    dataclasses.replace(each, dtype='bfloat16') for each in graph.outputs
                ),
            ),
            'computes in bfloat16',
        ),
    ],
)
def test_graphs_that_are_not_as_the_manifest_says_are_refused_with_the_command(
    tiny_bundle: Bundle, change: Callable[[Any], Any], words: str
) -> None:
    with pytest.raises(BundleMismatch, match=f'(?s)({words}).*(penguin build|Build it)'):
        OnnxBackend(rewritten(tiny_bundle, change), CONFIG).open()


def test_close_frees_handles_that_are_still_held(tiny_bundle: Bundle) -> None:
    backend = OnnxBackend(tiny_bundle, CONFIG)
    backend.open()
    features = run_to_end(backend.encode([frame(1)]))[0][0]
    backend.close()
    assert not features.stages and backend._session is None  # type: ignore[attr-defined]
