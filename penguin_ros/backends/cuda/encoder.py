# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector as a sequence of kernels over the patches of one frame.

What one kernel leaves for the next lies in memory that all frames share, but for the residual
stream: an encode may be suspended between two slices, and another one run. Importing this file
needs cuda-bindings.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.cuda.features import DeviceFeatures, FeaturePool
from penguin_ros.backends.cuda.inputs import SharedBlock
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.layers import LayerStack, Sight, StackBuffers, zeroed
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.errors import BackendError
from penguin_ros.kernels.network import Network
from penguin_ros.kernels.packing import filled_up
from penguin_ros.kernels.rows_set import MANY
from penguin_ros.kernels.state import ENTRIES, LENGTH, ROWS
from penguin_ros.model_inputs import FramePatches

MAX_MERGED = 16
"""Patches that become one token at most."""


@dataclass(frozen=True)
class EncoderSizes:
    """The largest frame, and how many patches of a layer are computed in a slice."""

    max_patches: int
    patches_per_slice: int


class Encoder:
    """Encodes frames of at most `max_patches` patches, `patches_per_slice` of a layer in a slice,
    or one layer where a frame has more.
    """

    def __init__(
        self,
        launch: Launcher,
        weights: DeviceWeights,
        network: Network,
        shape: TransformerShape,
        sizes: EncoderSizes,
    ) -> None:
        self._launch = launch
        self._device = device = launch.device
        self._weights = weights
        self._network = network
        self._shape = shape
        self._sizes = sizes
        self.encoded_width, self.projected_width = network.encoder.hidden, network.llm.hidden
        rows = filled_up(sizes.max_patches, MANY)
        self._block = SharedBlock(
            device,
            {
                'state': (np.int64, ENTRIES),
                'merged_state': (np.int64, ENTRIES),
                'shares': (np.float32, MAX_MERGED),
                'levels': (np.float32, 3 * 256),
                'angles': (np.int32, rows),
            },
        )
        self._block['angles'][:] = np.arange(rows)
        self._pixels = SharedBlock(device, {'pixels': (np.float32, rows * network.patch_values)})
        table = rows * 2 * network.encoder.head_dim
        self._tables = SharedBlock(device, {'table': (np.float32, table)})
        self._grid: tuple[int, int, int] = (0, 0, 0)
        self._allocate(rows)

    def _allocate(self, rows: int) -> None:
        device, network, stack = self._device, self._network, self._network.encoder
        self._pitch = rows
        self._patches = zeroed(device, rows * network.patch_width * 2)
        self._cache = zeroed(device, 2 * stack.kv_heads * rows * stack.head_dim * 2)
        self._encoded = zeroed(device, rows * self.encoded_width * 2)
        self._hidden, self._projected = (
            zeroed(device, rows * self.projected_width * 2) for _ in range(2)
        )
        buffers = StackBuffers(device, stack, rows, 0, 0)
        self._stack = LayerStack(self._launch, self._weights, 'encoder', buffers)

    def check(self, frame: FramePatches) -> None:
        """Raises BackendError for a frame that is too large."""
        count = frame.rows * frame.columns
        if count > self._sizes.max_patches:
            raise BackendError(
                f'a frame of {frame.rows} x {frame.columns} patches',
                f'{count} are more than the {self._sizes.max_patches} that there is memory for',
                'Lower the visual token budget or the image size',
            )
        if frame.merge_size**2 > MAX_MERGED:
            raise BackendError(
                f'a merge size of {frame.merge_size}', f'{MAX_MERGED} patches become one at most'
            )

    def encode(
        self, frame: FramePatches, pool: FeaturePool
    ) -> Generator[None, None, DeviceFeatures]:
        """Encodes and projects one frame."""
        patches = frame.rows * frame.columns
        x = pool.block(filled_up(patches, MANY) * self._network.encoder.hidden * 4)
        self._begin(frame)
        self._embed(frame, x.address)
        yield from self._pause()
        done = 0
        for index in range(self._network.encoder.layers):
            self._begin(frame)
            self._stack.enqueue('encoder', index, 0, x.address, patches, self._sight())
            done += patches
            if done >= self._sizes.patches_per_slice:
                done = 0
                yield from self._pause()
        self._begin(frame)
        features = self._finish(frame, x.address, pool)
        self._device.synchronize()
        return features

    def _pause(self) -> Generator[None, None, None]:
        """Ends a slice when its work is done, so that nobody waits behind it."""
        self._device.synchronize()
        yield

    # --- the kernels ------------------------------------------------------------------------------

    def _begin(self, frame: FramePatches) -> None:
        """Queues what is known of the frame to the device, where another one may have been."""
        patches = frame.rows * frame.columns
        self._device.synchronize()
        self._block['state'][[ROWS, LENGTH]] = patches
        self._block['merged_state'][ROWS] = frame.tokens
        shares = merge_weights(frame.merge_size)
        self._block['shares'][: len(shares)] = shares
        if frame.levels is not None:
            self._block['levels'][:] = frame.levels.table.reshape(-1)
        self._block.to_device()
        grid = (frame.rows, frame.columns, frame.merge_size)
        if grid != self._grid:
            tables = rope_tables(*grid, self._shape.head_dim, self._shape.rope_theta)
            half = self._shape.head_dim // 2
            cosine, sine = tables[0], np.concatenate((-tables[1][:, :half], tables[1][:, half:]), 1)
            joined = np.concatenate((cosine, sine), axis=1).reshape(-1)
            self._tables['table'][: joined.size] = joined
            self._tables.to_device(joined.nbytes)
            self._grid = grid

    def _embed(self, frame: FramePatches, x: int) -> None:
        """Queues the patches' embeddings."""
        values, patches = frame.values, frame.rows * frame.columns
        pixels = self._pixels['pixels'].view(values.dtype)
        pixels[: values.size] = values.reshape(-1)
        self._pixels.to_device(values.nbytes)
        source = self._pixels.address('pixels')
        if frame.levels is None:
            self._launch('encoder.numbers', patches, numbers=source, y=self._patches)
        else:
            table = self._block.address('levels')
            self._launch('encoder.levels', patches, levels=source, table=table, y=self._patches)
        self._product('patches', 'encoder.patch_embedding', self._patches, x, patches, 'state')

    def _sight(self) -> Sight:
        return Sight(
            state=self._block.address('state'),
            angles=self._block.address('angles'),
            table=self._tables.address('table'),
            cache=self._cache,
            pitch=self._pitch,
        )

    def _finish(self, frame: FramePatches, x: int, pool: FeaturePool) -> DeviceFeatures:
        """Queues norm, merging and projector, and copies what they leave to a place of its own."""
        tokens = frame.tokens
        self._launch(
            'encoder.merge',
            tokens,
            x=x,
            gain=self._weights['encoder.norm.weight'],
            shares=self._block.address('shares'),
            y=self._encoded,
            merged=frame.merge_size**2,
        )
        self._product(
            'project_0', 'projector.0', self._encoded, self._hidden, tokens, 'merged_state'
        )
        self._product(
            'project_2', 'projector.2', self._hidden, self._projected, tokens, 'merged_state'
        )
        encoded, projected = (
            tokens * width * 2 for width in (self.encoded_width, self.projected_width)
        )
        features = DeviceFeatures(pool, tokens, encoded, projected)
        self._device.copy(features.address, self._encoded, encoded)
        self._device.copy(features.projected_address, self._projected, projected)
        return features

    def read(self, features: DeviceFeatures, stage: str) -> NDArray[Any]:
        """Copies a stage of features to the host, (tokens, size) as their bits."""
        is_encoded = stage == 'encoded'
        width = self.encoded_width if is_encoded else self.projected_width
        size = (self._network.encoder if is_encoded else self._network.llm).size
        buffer = self._device.allocate_host(features.tokens * width * 2)
        try:
            source = features.address if is_encoded else features.projected_address
            self._device.copy(buffer.address, source, len(buffer.bytes))
            self._device.synchronize()
            stored = buffer.view(np.dtype(np.uint16), (features.tokens, width))
            return stored[:, :size].copy()
        finally:
            self._device.free(buffer.host_address)

    def _product(self, kernel: str, name: str, x: int, y: int, rows: int, state: str) -> None:
        words, scales = self._stack.matrix(name)
        self._launch(
            f'encoder.{kernel}',
            rows,
            state=self._block.address(state),
            x=x,
            weights=words,
            scales=scales,
            bias=self._weights[f'{name}.bias'],
            y=y,
        )
