# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector as graphs, against the reference's values and against PyTorch on other
shapes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import Vision, built, checkpoint_of, distance, patches, session, stack
from support.needed_packages import onnx

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

CLOSE = 1e-5
VISUAL = (
    'dialogue',
    'image',
    'image_small',
    'video',
    'video_compressed',
    'video_floor',
    'video_still',
)
SHAPES = {
    'wide heads': {'encoder': stack(heads=4, kv_heads=2, head_dim=24, hidden=40, ffn=56)},
    'one key head': {'encoder': stack(heads=6, kv_heads=1, head_dim=8)},
    'no groups': {'encoder': stack(heads=3, kv_heads=3, head_dim=16, layers=1)},
    'large eps, small theta': {'encoder': TransformerShape(2, 48, 64, 2, 1, 20, 100.0, 0.1)},
}


def frames_of(case: np.lib.npyio.NpzFile) -> list[FramePatches]:
    first, frames = 0, []
    for (_, rows, columns), merge in zip(case['grid_sizes'], case['merge_sizes'], strict=True):
        pixels = case['pixel_values'][first : first + rows * columns].astype(np.float32)
        frames.append(FramePatches(pixels, int(rows), int(columns), int(merge)))
        first += rows * columns
    return frames


@pytest.mark.parametrize('name', VISUAL)
@pytest.mark.parametrize('way', ['whole', 'plain', 'stages'])
def test_features_are_those_of_the_reference(
    golden_dir: Path, golden_bundles: dict[str, Bundle], name: str, way: str
) -> None:
    vision = Vision(
        golden_bundles['onnxruntime' if way == 'stages' else 'tensorrt'],
        'plain' if way == 'plain' else 'fused',
    )
    run = partial(vision.in_stages, block=64) if way == 'stages' else vision.whole
    with np.load(golden_dir / 'cases' / f'{name}.npz') as case:
        results = [run([frame]) for frame in frames_of(case)]
        assert (
            distance(
                np.concatenate([encoded[0] for encoded, _ in results]), case['vision_features']
            )
            < CLOSE
        )
        assert (
            distance(np.concatenate([embeds[0] for _, embeds in results]), case['projected'])
            < CLOSE
        )


def test_softmax_in_float16_gives_the_features_of_softmax_in_float32(
    golden_dir: Path, tmp_path: Path
) -> None:
    """On a frame of the reference, to the rounding of float16; and no cast is left beside it."""
    checkpoint = open_checkpoint(golden_dir / 'checkpoint')
    bundle = built(checkpoint, tmp_path / 'b', 'tensorrt', 'float16')
    with np.load(golden_dir / 'cases' / 'image_small.npz') as case:
        frame = frames_of(case)[0]
        expected = case['projected']
    half, wide = (
        Vision(bundle, variant).whole([frame])[1][0].astype(np.float32)
        for variant in ('plain_half', 'plain')
    )
    assert distance(half, wide) < 2e-3
    assert distance(half, expected) < 1.2 * distance(wide, expected) + 1e-3
    model = onnx.load(bundle.file('vision_plain_half.onnx'), load_external_data=False)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    users = {name: node.op_type for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type == 'Softmax':
            assert (makers[node.input[0]], users[node.output[0]]) == ('MatMul', 'MatMul')


@pytest.mark.parametrize('changes', SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize('grid', [(4, 6, 2), (3, 5, 1), (6, 9, 3), (8, 4, 4)])
def test_other_shapes_and_merge_sizes_agree_with_torch(
    tmp_path: Path, changes: dict[str, object], grid: tuple[int, int, int]
) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    from penguin_ros.backends.torch.backend import TorchBackend

    checkpoint, frame = checkpoint_of(tmp_path / 'c', **changes), patches(1, *grid)
    backend = TorchBackend(
        checkpoint, ModelConfig(device='cpu', precision='float32', max_length=64, threads=1)
    )
    backend.open()
    features = _finished(backend.encode([frame]))[0]
    expected = backend.read_features(features, 'encoded'), backend.read_features(features)
    vision = Vision(built(checkpoint, tmp_path / 'b'))
    plain = Vision(built(checkpoint, tmp_path / 't', 'tensorrt'), 'plain')
    for got in (
        vision.whole([frame]),
        vision.in_stages([frame], 2 * grid[2] ** 2),
        plain.whole([frame]),
    ):
        assert all(
            distance(ours[0], theirs) < CLOSE for ours, theirs in zip(got, expected, strict=True)
        )
    backend.close()


def _finished(steps: object) -> list[object]:
    while True:
        try:
            next(steps)  # type: ignore[call-overload]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_frames_of_one_call_do_not_see_each_other(golden_bundles: dict[str, Bundle]) -> None:
    vision, frames = (
        Vision(golden_bundles['onnxruntime']),
        [patches(seed, 4, 6, 2) for seed in range(3)],
    )
    together, alone = vision.whole(frames), vision.whole(frames[1:2])
    assert distance(together[1][1], alone[1][0]) < 1e-6
    assert distance(together[1][0], alone[1][0]) > 0.1
    staged = vision.in_stages(frames, 8)
    assert distance(staged[1], together[1]) < 1e-6


@pytest.mark.parametrize('block', [4, 12, 24, 100])
def test_blocks_of_any_size_give_the_same_features(
    golden_bundles: dict[str, Bundle], block: int
) -> None:
    vision, frame = Vision(golden_bundles['onnxruntime']), patches(5, 6, 8, 2)
    assert distance(vision.in_stages([frame], block)[1], vision.whole([frame])[1]) < 1e-6


def test_a_patch_position_is_row_and_column(golden_bundles: dict[str, Bundle]) -> None:
    """Exchanging the grid's axes changes features although the pixels are the same: rotary
    positions are two-dimensional.
    """
    vision, frame = Vision(golden_bundles['onnxruntime']), patches(2, 2, 8, 1)
    turned = FramePatches(frame.pixels, 8, 2, 1)
    assert distance(vision.whole([frame])[1], vision.whole([turned])[1]) > 1e-3


def test_the_plain_graphs_use_old_operators_only(golden_bundles: dict[str, Bundle]) -> None:
    for part, variant in (('vision', 'plain'), ('decoder', 'two_part')):
        model = onnx.load(
            golden_bundles['tensorrt'].file(golden_bundles['tensorrt'].graph(part, variant).file),
            load_external_data=False,
        )
        for kind in {node.op_type for node in model.graph.node}:
            assert onnx.defs.get_schema(kind, 20).since_version <= 20
        assert {node.domain for node in model.graph.node} == {''}


def test_graphs_are_valid_onnx(golden_bundles: dict[str, Bundle]) -> None:
    for bundle in golden_bundles.values():
        for graph in bundle.manifest.graphs:
            onnx.checker.check_model(str(bundle.file(graph.file)), full_check=True)


def test_the_manifest_lists_inputs_and_outputs_as_the_runtime_sees_them(
    golden_bundles: dict[str, Bundle],
) -> None:
    formats = {'float32': 'tensor(float)', 'int64': 'tensor(int64)', 'bool': 'tensor(bool)'}
    for bundle in golden_bundles.values():
        for graph in bundle.manifest.graphs:
            loaded = session(bundle, graph.file)
            for ours, theirs in (
                (graph.inputs, loaded.get_inputs()),
                (graph.outputs, loaded.get_outputs()),
            ):
                assert [(item.name, formats[item.dtype], list(item.shape)) for item in ours] == [
                    (item.name, item.type, item.shape) for item in theirs
                ]
