# SPDX-License-Identifier: Apache-2.0
"""The encoder against plain numpy; its merging, positions and slices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end
from support.memory_checkpoint import TINY, MemoryCheckpoint

from penguin_ros.backends.torch.backend import TorchBackend

torch = pytest.importorskip('torch', reason='torch is not installed')


def blocks(grid: np.ndarray, merge: int) -> np.ndarray:
    """Reorders (rows, columns, size) to (rows * columns, size) in merge-block order, with four
    loops.
    """
    rows, columns = grid.shape[:2]
    return np.array(
        [
            grid[row + y, column + x]
            for row in range(0, rows, merge)
            for column in range(0, columns, merge)
            for y in range(merge)
            for x in range(merge)
        ]
    )


class PlainEncoder:
    """Encoder and projector in float64, head by head and as near to the formulas as can be."""

    def __init__(self, checkpoint: MemoryCheckpoint) -> None:
        self.checkpoint, self.shape = checkpoint, checkpoint.shape.encoder

    def weight(self, name: str) -> np.ndarray:
        return self.checkpoint.read_raw(name)[1].astype(np.float64)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.shape.norm_eps) * self.weight(name)

    def turn(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        half = self.shape.head_dim // 2
        frequencies = self.shape.rope_theta ** -(np.arange(half) / half)
        angles = np.concatenate((places[:, :1] * frequencies, places[:, 1:] * frequencies), axis=1)
        return x * np.cos(angles) + np.concatenate((-x[:, half:], x[:, :half]), axis=1) * np.sin(
            angles
        )

    def layer(self, x: np.ndarray, prefix: str, places: np.ndarray) -> np.ndarray:
        size, normed, mixed = (
            self.shape.head_dim,
            self.norm(x, prefix + 'input_layernorm.weight'),
            [],
        )
        q, k, v = (
            (normed @ self.weight(f'{prefix}self_attn.{part}_proj.weight').T).reshape(
                len(x), -1, size
            )
            for part in 'qkv'
        )
        for head in range(self.shape.heads):
            keys = head // (self.shape.heads // self.shape.kv_heads)
            query = self.turn(self.norm(q[:, head], prefix + 'self_attn.q_norm.weight'), places)
            key = self.turn(self.norm(k[:, keys], prefix + 'self_attn.k_norm.weight'), places)
            shares = np.exp(query @ key.T / math.sqrt(size))
            mixed.append(shares / shares.sum(1, keepdims=True) @ v[:, keys])
        x = x + np.concatenate(mixed, axis=1) @ self.weight(prefix + 'self_attn.o_proj.weight').T
        normed = self.norm(x, prefix + 'post_attention_layernorm.weight')
        gate, up = (
            normed @ self.weight(f'{prefix}mlp.{part}_proj.weight').T for part in ('gate', 'up')
        )
        return (
            x + (gate / (1 + np.exp(-gate)) * up) @ self.weight(prefix + 'mlp.down_proj.weight').T
        )

    def __call__(self, pixels: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns features of one frame without merging, before and after the projector."""
        x = pixels @ self.weight('encoder.patch_embedding.weight').T + self.weight(
            'encoder.patch_embedding.bias'
        )
        for index in range(self.shape.layers):
            x = self.layer(x, f'encoder.layers.{index}.', places)
        encoded = self.norm(x, 'encoder.norm.weight')
        inner = encoded @ self.weight('projector.0.weight').T + self.weight('projector.0.bias')
        inner = inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2
        return encoded, inner @ self.weight('projector.2.weight').T + self.weight(
            'projector.2.bias'
        )


@pytest.mark.parametrize('patches_per_slice', [4096, 10])
def test_features_are_those_of_the_formulas(patches_per_slice: int) -> None:
    checkpoint, image = MemoryCheckpoint(), frame(4, 5, 7, 1)
    backend = TorchBackend(checkpoint, replace(CONFIG, encode_patches=patches_per_slice))  # type: ignore[arg-type]
    backend.open()
    features = run_to_end(backend.encode([image]))[0][0]
    places = np.array([(row, column) for row in range(5) for column in range(7)], np.float64)
    expected = PlainEncoder(checkpoint)(image.pixels.astype(np.float64), places)
    for stage, values in zip(('encoded', 'projected'), expected, strict=True):
        assert np.linalg.norm(
            backend.read_features(features, stage) - values
        ) < 1e-5 * np.linalg.norm(values)


@pytest.mark.parametrize('merge_size', [1, 2, 3, 4, 5])
def test_merging_equals_bilinear_interpolation(merge_size: int) -> None:
    from penguin_ros.backends.torch.encoder import merge

    grid = (
        np.random.default_rng(1)
        .standard_normal((2 * merge_size, 3 * merge_size, 7))
        .astype(np.float32)
    )
    expected = (
        torch.nn.functional.interpolate(
            torch.from_numpy(grid).permute(2, 0, 1)[None],
            size=(2, 3),
            mode='bilinear',
            align_corners=False,
        )[0]
        .permute(1, 2, 0)
        .reshape(6, 7)
    )
    got = merge(torch.from_numpy(blocks(grid, merge_size)), merge_size)
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize('merge_size', [1, 2, 3])
def test_the_order_of_patches_follows_the_merge_size(merge_size: int) -> None:
    """The same image with another merge size: the encoder's values before merging are the same,
    in another order.
    """
    from penguin_ros.backends.torch import encoder
    from penguin_ros.backends.torch.layers import apply_rope
    from penguin_ros.model_inputs import FramePatches

    grid = np.random.default_rng(2).standard_normal((6, 12, 16)).astype(np.float32)
    like = torch.zeros(1)

    def turned(merge: int) -> np.ndarray:
        rope = encoder.grid_rope(
            FramePatches(np.zeros((72, 588), np.float32), 6, 12, merge), TINY.encoder, like
        )
        return apply_rope(torch.from_numpy(blocks(grid, merge))[:, None], rope)[:, 0].numpy()

    in_rows = turned(1).reshape(6, 12, 16)
    assert np.array_equal(turned(merge_size), blocks(in_rows, merge_size))
    assert not np.allclose(in_rows[:, 0], in_rows[:, 1]) and not np.allclose(in_rows[0], in_rows[1])


def test_a_slice_is_a_layer_of_a_frame_or_a_block_of_its_rows() -> None:
    layers = TINY.encoder.layers
    for patches_per_slice, blocks_per_frame in ((4096, 1), (24, 1), (10, 3)):
        backend = TorchBackend(
            MemoryCheckpoint(), replace(CONFIG, encode_patches=patches_per_slice)
        )  # type: ignore[arg-type]
        backend.open()
        slices = run_to_end(backend.encode([frame(1), frame(2)]))[1] / 2
        tail = 1 if blocks_per_frame == 1 else 3  # two whole blocks of four patches each
        per_layer = 1 if blocks_per_frame == 1 else 2 * blocks_per_frame
        assert slices == 1 + layers * per_layer + tail


def test_the_thread_keeps_its_gradient_mode_between_slices() -> None:
    backend = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    backend.open()
    running = backend.encode([frame(1)])
    for _ in running:
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
