# SPDX-License-Identifier: Apache-2.0
"""Merging, positions and slices of the encoder."""
from __future__ import annotations

import numpy as np
import pytest
from backends.backend_kinds import CONFIG, finished, frame
from backends.memory_checkpoint import TINY, MemoryCheckpoint

from penguin_ros.backends.torch_backend import TorchBackend

torch = pytest.importorskip('torch', reason='torch is not installed')


def blocks(grid: np.ndarray, merge: int) -> np.ndarray:
    """(rows, columns, size) to (rows * columns, size) in merge-block order, said as four loops."""
    rows, columns = grid.shape[:2]
    return np.array([grid[row + y, column + x] for row in range(0, rows, merge) for column in range(0, columns, merge)
                     for y in range(merge) for x in range(merge)])


@pytest.mark.parametrize('merge_size', [1, 2, 3, 4, 5])
def test_merging_equals_bilinear_interpolation(merge_size: int) -> None:
    from penguin_ros.backends.torch_encoder import merge
    grid = np.random.default_rng(1).standard_normal((2 * merge_size, 3 * merge_size, 7)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(grid).permute(2, 0, 1)[None], size=(2, 3), mode='bilinear',
                                               align_corners=False)[0].permute(1, 2, 0).reshape(6, 7)
    got = merge(torch.from_numpy(blocks(grid, merge_size)), merge_size)
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize('merge_size', [1, 2, 3])
def test_the_order_of_patches_follows_the_merge_size(merge_size: int) -> None:
    """The same picture with another merge size: the encoder's values before merging are the same, in another order."""
    from penguin_ros.backends import torch_encoder
    from penguin_ros.backends.torch_layers import apply_rope
    from penguin_ros.model_inputs import FramePatches
    grid = np.random.default_rng(2).standard_normal((6, 12, 16)).astype(np.float32)
    like = torch.zeros(1)

    def turned(merge: int) -> np.ndarray:
        rope = torch_encoder._rope(FramePatches(np.zeros((72, 588), np.float32), 6, 12, merge), TINY.encoder, like)
        return apply_rope(torch.from_numpy(blocks(grid, merge))[:, None], rope)[:, 0].numpy()

    in_rows = turned(1).reshape(6, 12, 16)
    assert np.array_equal(turned(merge_size), blocks(in_rows, merge_size))
    assert not np.allclose(in_rows[:, 0], in_rows[:, 1]) and not np.allclose(in_rows[0], in_rows[1])


def test_a_slice_is_a_layer_of_a_frame_or_a_block_of_its_rows() -> None:
    layers = TINY.encoder.layers
    for patches_per_slice, blocks_per_frame in ((4096, 1), (24, 1), (10, 3)):
        config = CONFIG.__class__(**{**CONFIG.__dict__, 'encode_patches': patches_per_slice})
        backend = TorchBackend(MemoryCheckpoint(), config)  # type: ignore[arg-type]
        backend.open()
        slices = finished(backend.encode([frame(1), frame(2)]))[1] / 2
        tail = 1 if blocks_per_frame == 1 else 3  # two whole blocks of four patches each
        per_layer = 1 if blocks_per_frame == 1 else 2 * blocks_per_frame
        assert slices == 1 + layers * per_layer + tail


def test_the_thread_keeps_its_gradient_mode_between_slices() -> None:
    backend = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    backend.open()
    running = backend.encode([frame(1)])
    for _ in running:
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
