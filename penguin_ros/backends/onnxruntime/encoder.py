# SPDX-License-Identifier: Apache-2.0
"""Encoder and projector of a bundle in ONNX Runtime on a CPU, in slices.

The encoder comes as layers + 1 graphs, of which each ends one layer and begins the next
for a block of rows; keys and values of all patches are collected between them. So a slice is as
small as its block, and memory too: attention of all rows to all patches at once would take
gigabytes for a large frame. `device_encoder` has the way on a GPU.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.encoder_tables import merge_weights, rope_tables
from penguin_ros.backends.base.manifest import ENCODER, ENCODER_STAGE, FUSED, GraphSpec
from penguin_ros.backends.onnxruntime.library import running
from penguin_ros.backends.onnxruntime.session import SessionMaker, require_activations
from penguin_ros.model_inputs import FramePatches

MAX_BLOCK_ROWS = 512
"""Rows of a block, which are patches. Larger ones are no faster and take more memory for scores,
heads x rows x patches; under 256 they are slower.
"""

Array = NDArray[Any]
Encoded = tuple[Array, Array]
"""What the encoder gives after merging (tokens, encoder size), and the projector (tokens,
hidden_size).
"""

Slices = Generator[None, None, Encoded]


class OnnxEncoder:
    """Encodes one frame at a time, so that its features are the same bits in any company."""

    def __init__(self, maker: SessionMaker, rows_per_slice: int) -> None:
        bundle = maker.bundle
        self._shape = bundle.shape.encoder
        self._block_rows = min(rows_per_slice, MAX_BLOCK_ROWS)
        stages: tuple[GraphSpec, ...] = bundle.manifest.stages(ENCODER_STAGE, FUSED)
        specs = stages or (bundle.graph(ENCODER, FUSED),)
        require_activations(bundle, *specs)
        self._sessions = [maker.open(spec) for spec in specs]

    def encode(self, frame: FramePatches) -> Slices:
        """Encodes a frame; yields after slices of at most `rows_per_slice` and MAX_BLOCK_ROWS
        patches, or of one merged token when that has more.
        """
        tables = rope_tables(
            frame.rows,
            frame.columns,
            frame.merge_size,
            self._shape.head_dim,
            self._shape.rope_theta,
        )
        if len(self._sessions) == 1:
            return self._whole(frame, tables)
        return self._staged(frame, tables)

    def _whole(self, frame: FramePatches, tables: tuple[Array, Array]) -> Slices:
        encoded, projected = self._run(
            0,
            {
                'pixel_patches': frame.pixels[None],
                'rope_cos': tables[0],
                'rope_sin': tables[1],
                'merge_weights': merge_weights(frame.merge_size),
            },
        )
        yield
        return encoded[0], projected[0]

    def _staged(self, frame: FramePatches, tables: tuple[Array, Array]) -> Slices:
        blocks = list(_blocks(len(frame.pixels), self._block_rows, frame.merge_size**2))
        state: list[dict[str, Array]] = [
            {'pixel_patches': frame.pixels[None, block]} for block in blocks
        ]
        last = len(self._sessions) - 1
        results: list[list[Array]] = []
        for stage in range(last + 1):
            seen = {} if stage == 0 else _collected(state)
            for index, block in enumerate(blocks):
                extra = (
                    {'merge_weights': merge_weights(frame.merge_size)}
                    if stage == last
                    else {'rope_cos': tables[0][block], 'rope_sin': tables[1][block]}
                )
                results.append(self._run(stage, {**state[index], **seen, **extra}))
                yield
            if stage < last:
                state = [
                    dict(zip(('hidden', 'queries', 'keys', 'values'), result, strict=True))
                    for result in results
                ]
                results = []
        encoded, projected = (
            np.concatenate([result[which][0] for result in results]) for which in (0, 1)
        )
        return encoded, projected

    def _run(self, stage: int, inputs: dict[str, Array]) -> list[Array]:
        with running('encoding a frame'):
            outputs: list[Array] = self._sessions[stage].run(None, inputs)
            return outputs


def _blocks(patches: int, rows: int, merged: int) -> Iterator[slice]:
    """Yields even blocks of at most `rows` patches, or of `merged` when that is more; all of them
    are multiples of `merged`.
    """
    tokens, most = patches // merged, max(1, rows // merged)
    count = -(-tokens // most)
    borders = [tokens * index // count * merged for index in range(count + 1)]
    return (slice(*pair) for pair in zip(borders[:-1], borders[1:], strict=True))


def _collected(state: list[dict[str, Array]]) -> dict[str, Array]:
    """Takes the keys and values of all patches out of the blocks' states."""
    return {
        name: np.concatenate([block.pop(name) for block in state], axis=2)
        for name in ('keys', 'values')
    }
