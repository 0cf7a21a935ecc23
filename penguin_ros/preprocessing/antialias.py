# SPDX-License-Identifier: Apache-2.0
"""Bilinear resize of float planes with antialias: the numbers of PyTorch's
`interpolate(antialias=True)`.

Pillow's float resize gives other numbers: its coordinates are doubles, those here float32, and the
result is truncated to whole numbers later, where the last bit decides.

Each output is a weighted sum of a few neighbours. Written as one matrix the weights are a narrow
band, so a pass multiplies small dense tiles along the band: a BLAS call sums the few products in
their order, as the reference's loop does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

TILE = 32
"""Outputs per tile: few multiplications by zero, yet enough work per BLAS call."""
PANEL = 128
"""Rows or columns that one BLAS call takes: few enough that the library stays on the calling
thread. Its own threads would wait for each other hundreds of times per frame, for whole time slices
when other work keeps the cores busy.
"""


@dataclass(frozen=True, eq=False)
class _Tile:
    """Inputs `first` .. `last` make TILE outputs: `weights` (last - first, TILE), columns past the
    end are zero.
    """

    first: int
    last: int
    weights: Plane


def resize_plane(plane: Plane, size: tuple[int, int]) -> Plane:
    """Resizes `plane` (height, width) float32 to `size` (height, width); columns first, as PyTorch
    does.
    """
    height, width = size
    if plane.shape[1] != width:
        plane = _resize_columns(plane, width)
    if plane.shape[0] != height:
        plane = _resize_rows(plane, height)
    return plane


def _resize_columns(plane: Plane, width: int) -> Plane:
    tiles = _tiles(plane.shape[1], width)
    resized = np.empty((plane.shape[0], len(tiles) * TILE), np.float32)
    for number, tile in enumerate(tiles):
        source = plane[:, tile.first : tile.last]
        target = resized[:, number * TILE : (number + 1) * TILE]
        whole = len(plane) // PANEL * PANEL
        np.matmul(_row_panels(source[:whole]), tile.weights, out=_row_panels(target[:whole]))
        np.matmul(source[whole:], tile.weights, out=target[whole:])
    return resized[:, :width]


def _resize_rows(plane: Plane, height: int) -> Plane:
    tiles = _tiles(plane.shape[0], height)
    resized = np.empty((len(tiles) * TILE, plane.shape[1]), np.float32)
    for number, tile in enumerate(tiles):
        source = plane[tile.first : tile.last]
        target = resized[number * TILE : (number + 1) * TILE]
        whole = plane.shape[1] // PANEL * PANEL
        np.matmul(
            tile.weights.T, _column_panels(source[:, :whole]), out=_column_panels(target[:, :whole])
        )
        np.matmul(tile.weights.T, source[:, whole:], out=target[:, whole:])
    return resized[:height]


def _row_panels(plane: Plane) -> Plane:
    """Returns a view (panels, PANEL, columns)."""
    return np.lib.stride_tricks.as_strided(
        plane,
        (len(plane) // PANEL, PANEL, plane.shape[1]),
        (plane.strides[0] * PANEL, *plane.strides),
    )


def _column_panels(plane: Plane) -> Plane:
    """Returns a view (panels, rows, PANEL)."""
    return np.lib.stride_tricks.as_strided(
        plane,
        (plane.shape[1] // PANEL, len(plane), PANEL),
        (plane.strides[1] * PANEL, *plane.strides),
    )


@lru_cache(maxsize=32)
def _tiles(inputs: int, outputs: int) -> tuple[_Tile, ...]:
    first, count, weights = _weights(inputs, outputs)
    return tuple(
        _tile(first, count, weights, range(start, min(start + TILE, outputs)))
        for start in range(0, outputs, TILE)
    )


def _tile(
    first: NDArray[np.int64], count: NDArray[np.int64], weights: Plane, outputs: range
) -> _Tile:
    start = int(first[outputs.start])
    end = int((first + count)[outputs.start : outputs.stop].max())
    dense = np.zeros((end - start, TILE), np.float32)
    for column, output in enumerate(outputs):
        row = int(first[output]) - start
        dense[row : row + int(count[output]), column] = weights[output, : count[output]]
    return _Tile(start, end, dense)


def _weights(inputs: int, outputs: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Plane]:
    """Returns for each output its first input (outputs,), the number of its inputs (outputs,), and
    their weights (outputs, taps).

    The weights are a triangle as wide as the scale, at least one input to each side, cut at the
    borders and normalised. Which steps are float32 and which are double follows PyTorch's
    upsample_bilinear2d_aa on a CPU, bit for bit.
    """
    scale = np.float32(inputs) / np.float32(outputs)
    support = max(scale, np.float32(1))
    taps = math.ceil(support) * 2 + 1
    center = (np.arange(outputs) + 0.5).astype(np.float32) * scale
    first = np.maximum(((center - support).astype(np.float64) + 0.5).astype(np.int64), 0)
    last = np.minimum(((center + support).astype(np.float64) + 0.5).astype(np.int64), inputs)
    count = np.clip(last - first, 0, taps)
    tap = np.arange(taps)[None, :]
    distance = ((tap + first[:, None]).astype(np.float32) - center[:, None]).astype(
        np.float64
    ) + 0.5
    distance = (distance * (np.float32(1) / support)).astype(np.float32)
    weights = np.where(
        tap < count[:, None],
        np.maximum(np.float32(1) - np.abs(distance), np.float32(0)),
        np.float32(0),
    )
    total = np.zeros(outputs, np.float32)
    for column in weights.T:  # in order: np.sum adds in pairs, which rounds otherwise
        total += column
    return first, count, (weights / total[:, None]).astype(np.float32, copy=False)
