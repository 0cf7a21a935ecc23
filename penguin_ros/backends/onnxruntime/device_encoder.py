# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector on a device: a frame is one run. What does not change from frame to frame
of one grid, the rotary tables and the weights of merging, is copied to the device once and stays;
a frame copies its pixels to a place that stays, too.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.base.manifest import ENCODER, FUSED
from penguin_ros.backends.base.recently_used import RecentlyUsed
from penguin_ros.backends.onnxruntime.library import running
from penguin_ros.backends.onnxruntime.session import QUIET, SessionMaker, require_activations
from penguin_ros.model_inputs import FramePatches

MAX_GRIDS = 8
"""Grids of patches whose inputs stay on the device; the least recently used leaves for another.
Those of 2,800 patches take 8 MB.
"""

PIXELS, OUTPUTS = 'pixel_patches', ('encoded', 'image_embeds')

Array = NDArray[Any]
Grid = tuple[int, int, int]
"""Rows, columns and merge size."""


@dataclass(frozen=True, eq=False)
class _Bound:
    binding: Any
    pixels: Any
    tables: tuple[Any, ...]
    """Kept, since the binding names their memory and does not own it in every version."""


class DeviceEncoder:
    """Encodes one frame at a time on `device`."""

    def __init__(self, maker: SessionMaker, device: str) -> None:
        bundle = maker.bundle
        spec = bundle.graph(ENCODER, FUSED)
        require_activations(bundle, spec)
        self._library = maker.library
        self._shape = bundle.shape.encoder
        self._device = device
        self._session = maker.open(spec)
        self._options = maker.library.RunOptions()
        self._options.log_severity_level = QUIET
        self._kept: RecentlyUsed[Grid, _Bound] = RecentlyUsed(MAX_GRIDS)

    def encode(self, frame: FramePatches) -> Generator[None, None, tuple[Array, Array]]:
        """Encodes a frame at once, and yields behind it."""
        with running('encoding a frame'):
            encoded, projected = self._run(frame)
        yield
        return encoded, projected

    def _run(self, frame: FramePatches) -> list[Array]:
        grid = frame.rows, frame.columns, frame.merge_size
        bound = self._kept.get(grid, lambda: self._bind(frame))
        bound.pixels.update_inplace(np.ascontiguousarray(frame.pixels[None]))
        binding = bound.binding
        # Bound again, since a binding may hold a copy for an input that is read on the host.
        binding.bind_ortvalue_input(PIXELS, bound.pixels)
        for name in OUTPUTS:
            binding.bind_output(name, 'cpu')
        self._session.run_with_iobinding(binding, self._options)
        return [np.array(output.numpy()[0]) for output in binding.get_outputs()]

    def _bind(self, frame: FramePatches) -> _Bound:
        shape = self._shape
        cosine, sine = rope_tables(
            frame.rows, frame.columns, frame.merge_size, shape.head_dim, shape.rope_theta
        )
        binding = self._session.io_binding()
        constants = {
            'rope_cos': self._placed(cosine),
            'rope_sin': self._placed(sine),
            'merge_weights': self._placed(merge_weights(frame.merge_size)),
        }
        for name, value in constants.items():
            binding.bind_ortvalue_input(name, value)
        pixels = self._library.OrtValue.ortvalue_from_shape_and_type(
            [1, *frame.values.shape], np.dtype(np.float32), self._device, 0
        )
        return _Bound(binding, pixels, tuple(constants.values()))

    def _placed(self, values: Array) -> Any:
        return self._library.OrtValue.ortvalue_from_numpy(np.array(values), self._device, 0)
