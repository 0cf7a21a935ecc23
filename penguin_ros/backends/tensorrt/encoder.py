# SPDX-License-Identifier: Apache-2.0
"""The encoder's engine: one frame goes in, its features in device memory come out.

A frame is one run: it runs alone, so its features do not depend on its company.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.cuda.features import DeviceFeatures, FeaturePool
from penguin_ros.backends.tensorrt.engine import Context, Engine, Workspace
from penguin_ros.backends.tensorrt.library import SAFETENSORS, STORAGE
from penguin_ros.checkpoint.shapes import TransformerShape
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.errors import BackendError
from penguin_ros.model_inputs import FramePatches

INPUTS = ('pixel_patches', 'rope_cos', 'rope_sin', 'merge_weights')


class Encoder:
    """One opened engine; `workspace` is the memory for intermediate values."""

    def __init__(self, engine: Engine, shape: TransformerShape, workspace: Workspace) -> None:
        self._engine = engine
        self._shape = shape
        self._device = engine.device
        self._context = Context(engine, 0, workspace)
        self._max_patches = engine.largest('pixel_patches', 1)
        self._max_merged = engine.largest('merge_weights', 0)
        values = engine.tensors['pixel_patches'].shape[2]
        table = self._max_patches * shape.head_dim
        counts = (self._max_patches * values, table, table, self._max_merged)
        self._buffers = {
            name: self._device.allocate_host(count * self._storage(name).itemsize)
            for name, count in zip(INPUTS, counts, strict=True)
        }
        self._context.bind({name: buffer.address for name, buffer in self._buffers.items()})
        self.token_bytes = {
            name: engine.tensors[name].shape[2] * self._storage(name).itemsize
            for name in ('encoded', 'image_embeds')
        }

    def check(self, frame: FramePatches) -> None:
        """Raises BackendError when the engine was built for smaller frames."""
        if len(frame.pixels) > self._max_patches:
            raise BackendError(
                f'a frame has {len(frame.pixels)} patches',
                f'the engine takes {self._max_patches}',
                'Lower visual.max_visual_tokens, or build the engines again with a larger '
                '--max-patches',
            )
        if frame.merge_size**2 > self._max_merged:
            raise BackendError(
                f'a frame has merge size {frame.merge_size}',
                f'the engine takes {self._max_merged} patches a token',
            )

    def encode(self, frame: FramePatches, pool: FeaturePool) -> DeviceFeatures:
        """Runs one frame."""
        self.check(frame)
        shape, patches = self._shape, len(frame.pixels)
        cosine, sine = rope_tables(
            frame.rows, frame.columns, frame.merge_size, shape.head_dim, shape.rope_theta
        )
        inputs = dict(
            zip(
                INPUTS,
                (frame.pixels[None], cosine, sine, merge_weights(frame.merge_size)),
                strict=True,
            )
        )
        for name, values in inputs.items():
            self._buffers[name].view(self._storage(name), values.shape)[...] = values
        features = DeviceFeatures(
            pool,
            frame.tokens,
            frame.tokens * self.token_bytes['encoded'],
            frame.tokens * self.token_bytes['image_embeds'],
        )
        assert features.tokens * frame.merge_size**2 == patches
        self._context.bind(
            {'encoded': features.address, 'image_embeds': features.projected_address}
        )
        self._context.reshape({name: values.shape for name, values in inputs.items()})
        self._context.enqueue()
        self._device.synchronize()
        return features

    def read(self, features: DeviceFeatures, name: str) -> NDArray[np.float32]:
        """Copies an output of a frame to the host, (tokens, size)."""
        address = features.address if name == 'encoded' else features.projected_address
        size = self._engine.tensors[name].shape[2]
        buffer = self._device.allocate_host(features.tokens * self.token_bytes[name])
        try:
            self._device.copy(buffer.address, address, len(buffer.bytes))
            self._device.synchronize()
            stored = buffer.view(self._storage(name), (features.tokens, size))
            # Into memory of its own, since the buffer goes.
            kind = SAFETENSORS[self._engine.tensors[name].dtype]
            return np.array(widened(kind, stored), np.float32)
        finally:
            self._device.free(buffer.host_address)

    def close(self) -> None:
        """Frees the context."""
        self._context.close()

    def _storage(self, name: str) -> np.dtype[Any]:
        return STORAGE[self._engine.tensors[name].dtype]
