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
from penguin_ros.backends.cuda.inputs import shared_buffers
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.pass_memory import PassMemory
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.errors import BackendError
from penguin_ros.kernels.buffers import Room, encoder_buffers
from penguin_ros.kernels.network import Network
from penguin_ros.kernels.packing import filled_up
from penguin_ros.kernels.passes import encoder_pass
from penguin_ros.kernels.rows_set import MANY
from penguin_ros.kernels.state import LENGTH, ROWS
from penguin_ros.model_inputs import FramePatches

MAX_MERGED = 16
"""Patches that become one token at most."""

SMALL = ('encoder.state', 'encoder.head_state', 'merge_weights', 'level_table', 'row_numbers')
"""What is told of each frame."""


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
        self._device = device = launch.device
        self._network = network
        self._shape = shape
        self._sizes = sizes
        self.encoded_width, self.projected_width = network.encoder.hidden, network.llm.hidden
        self._number_bytes = network.formats.compute_bytes
        rows = filled_up(sizes.max_patches, MANY)
        room = Room(0, 0, 0, rows, 0)
        buffers = {buffer.name: buffer for buffer in encoder_buffers(network, room)}
        # Pixels are numbers or, where they can be, bytes; both have one place.
        bytes_of_pixels = buffers.pop('levels').name
        self._block, self._pixels, self._tables = (
            shared_buffers(device, [buffers[name] for name in names])
            for names in (SMALL, ('numbers',), ('encoder.rope',))
        )
        self._block['row_numbers'][:] = np.arange(rows)
        blocks = (self._block, self._pixels, self._tables)
        # The residual stream of a frame lies in a block of its own.
        del buffers['encoder.x']
        self._memory = PassMemory(launch, weights, buffers.values(), blocks)
        self._given = {bytes_of_pixels: self._memory['numbers'], 'pitch': rows}
        self._passes = {
            has_levels: encoder_pass(network, has_levels) for has_levels in (False, True)
        }
        self._grid: tuple[int, int, int] = (0, 0, 0)

    @property
    def token_bytes(self) -> int:
        """The bytes of the features of a token, of both stages."""
        return self._number_bytes * (self.encoded_width + self.projected_width)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row of projected features."""
        return self._number_bytes * self.projected_width

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
        places = {**self._given, 'encoder.x': x.address, 'merge_count': frame.merge_size**2}
        embedding, *layers, end = self._passes[frame.levels is not None]
        self._begin(frame)
        self._take(frame)
        self._memory.enqueue(embedding, patches, places)
        yield from self._pause()
        done = 0
        for layer in layers:
            self._begin(frame)
            self._memory.enqueue(layer, patches, places)
            done += patches
            if done >= self._sizes.patches_per_slice:
                done = 0
                yield from self._pause()
        self._begin(frame)
        self._memory.enqueue(end, frame.tokens, places)
        features = self._kept(frame.tokens, pool)
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
        self._block['encoder.state'][[ROWS, LENGTH]] = patches
        self._block['encoder.head_state'][ROWS] = frame.tokens
        shares = merge_weights(frame.merge_size)
        self._block['merge_weights'][: len(shares)] = shares
        if frame.levels is not None:
            self._block['level_table'][:] = frame.levels.table.reshape(-1)
        self._block.to_device()
        grid = (frame.rows, frame.columns, frame.merge_size)
        if grid != self._grid:
            tables = rope_tables(*grid, self._shape.head_dim, self._shape.rope_theta)
            half = self._shape.head_dim // 2
            cosine, sine = tables[0], np.concatenate((-tables[1][:, :half], tables[1][:, half:]), 1)
            joined = np.concatenate((cosine, sine), axis=1).reshape(-1)
            self._tables['encoder.rope'][: joined.size] = joined
            self._tables.to_device(joined.nbytes)
            self._grid = grid

    def _take(self, frame: FramePatches) -> None:
        """Queues the frame's pixels to the device."""
        pixels = self._pixels['numbers'].view(frame.values.dtype)
        pixels[: frame.values.size] = frame.values.reshape(-1)
        self._pixels.to_device(frame.values.nbytes)

    def _kept(self, tokens: int, pool: FeaturePool) -> DeviceFeatures:
        """Queues copying what the last kernels leave to a place of its own."""
        encoded, projected = (
            tokens * width * self._number_bytes
            for width in (self.encoded_width, self.projected_width)
        )
        features = DeviceFeatures(pool, tokens, encoded, projected)
        self._device.copy(features.address, self._memory['merged'], encoded)
        self._device.copy(features.projected_address, self._memory['new_features'], projected)
        return features

    def read(self, features: DeviceFeatures, stage: str) -> NDArray[Any]:
        """Copies a stage of features to the host, (tokens, size) as their bits."""
        is_encoded = stage == 'encoded'
        width = self.encoded_width if is_encoded else self.projected_width
        size = (self._network.encoder if is_encoded else self._network.llm).size
        buffer = self._device.allocate_host(features.tokens * width * self._number_bytes)
        try:
            source = features.address if is_encoded else features.projected_address
            self._device.copy(buffer.address, source, len(buffer.bytes))
            self._device.synchronize()
            bits = np.dtype(f'u{self._number_bytes}')
            stored = buffer.view(bits, (features.tokens, width))
            return stored[:, :size].copy()
        finally:
            self._device.free(buffer.host_address)
