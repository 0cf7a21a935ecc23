# SPDX-License-Identifier: Apache-2.0
"""Extra heads that exist in training only: what each visual token shows, and how it moved.

The encoder's heads learn from every cell of every frame; those of the decoder, on visual positions,
compare frames. Both teach in one image what answers alone would teach in a hundred. Exported
checkpoints do not contain them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from penguin_sim_grids import GRIDS, KEY, Grid
from penguin_sim_shards import Shard
from torch import Tensor, nn

from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.scene import COLOURS, SHAPES

NONE_WEIGHT = 0.3
"""The weight of a cell that shows no thing; most cells do not."""
MEAN_LOG_AREA = 6.0


@dataclass(frozen=True)
class CellTargets:
    """What B clips with S visual tokens, those of one frame after the other, show.

    `colour` and `shape` (B, S) are classes, the last one for none. `place` (B, S, 3) is from the
    cell's middle to that of its thing in cells, and its size. `is_middle` (B, S): a thing's middle
    lies here. `shift` (B, S, 6) is the change of place since the frame before and since the first,
    in cells of key frames; NaN: not known. `motion` (B, S) is the class in the last frame, or that
    what was there at first is gone; -1: not known or not the last frame.
    """

    colour: Tensor
    shape: Tensor
    place: Tensor
    is_middle: Tensor
    shift: Tensor
    motion: Tensor


def cell_targets(shard: Shard, rows: list[int], grids: Sequence[Grid]) -> CellTargets:
    """Returns the targets of some clips of a shard whose frames are seen in these grids."""
    spots = torch.from_numpy(shard.spots[rows])
    looks = torch.from_numpy(shard.looks[rows].astype('int64'))
    shown = torch.from_numpy(shard.cells[rows].astype('int64'))
    parts = []
    for frame, grid in enumerate(grids):
        cells = _in_grid(shown[:, frame], grid)
        none, thing = cells < 0, cells.clamp(min=0)
        colour, shape = (_of_cell(looks[..., part], thing) for part in (0, 1))
        places = _places(spots[:, frame], grid)
        place = _of_cell(places, thing) - torch.cat(
            (_middles(grid), torch.zeros(grid.cells, 1)), -1
        )
        shift = _of_cell(_changes(spots, frame), thing)
        parts.append(
            (
                colour.masked_fill(none, len(COLOURS)),
                shape.masked_fill(none, len(SHAPES)),
                place.masked_fill(none[..., None], float('nan')),
                _has_middle(spots[:, frame], grid),
                shift.masked_fill(none[..., None], float('nan')),
                torch.full_like(cells, -1),
            )
        )
    parts[-1][-1].copy_(
        _motion(shown, torch.from_numpy(shard.motions[rows].astype('int64')), grids[-1])
    )
    return CellTargets(*(torch.cat(of_frames, 1) for of_frames in zip(*parts, strict=True)))


def _in_grid(shown: Tensor, grid: Grid) -> Tensor:
    """Returns the cells of one grid from (..., cells of all grids)."""
    return shown.split([each.cells for each in GRIDS], -1)[GRIDS.index(grid)]


def _motion(shown: Tensor, motions: Tensor, grid: Grid) -> Tensor:
    """Returns (B, cells) of the last frame. What a cell showed at first may have left the image,
    and no other cell can say so.
    """
    now, first = _in_grid(shown[:, -1], grid), _in_grid(shown[:, 0], grid)
    motion, was = (_of_cell(motions, cells.clamp(min=0)) for cells in (now, first))
    is_gone = (first >= 0) & (was == SEEN.index('gone'))
    return torch.where(now >= 0, motion, torch.where(is_gone, was, len(SEEN)))


def _places(spots: Tensor, grid: Grid) -> Tensor:
    """Returns middles in cells and sizes as images of a grid show them."""
    larger = math.log(grid.cells / KEY.cells)
    return spots * torch.tensor((grid.columns, grid.rows, 1.0)) - torch.tensor(
        (0.0, 0.0, MEAN_LOG_AREA - larger)
    )


def _changes(spots: Tensor, frame: int) -> Tensor:
    """Returns (B, things, 6)."""
    if frame == 0:
        return torch.full((*spots[:, 0].shape[:2], 6), float('nan'))
    return torch.cat(
        [_places(spots[:, frame], KEY) - _places(spots[:, since], KEY) for since in (frame - 1, 0)],
        -1,
    )


def _middles(grid: Grid) -> Tensor:
    """Returns (cells, 2) from left and top, in cells."""
    columns = torch.arange(grid.columns).repeat(grid.rows)
    rows = torch.arange(grid.rows).repeat_interleave(grid.columns)
    return torch.stack([columns, rows], -1) + 0.5


def _of_cell(values: Tensor, thing: Tensor) -> Tensor:
    """Returns values (B, things[, n]) at thing (B, cells)."""
    if values.ndim == thing.ndim:
        return values.gather(-1, thing)
    return values.gather(-2, thing[..., None].expand(*thing.shape, values.shape[-1]))


def _has_middle(spots: Tensor, grid: Grid) -> Tensor:
    is_seen = ~spots[..., 0].isnan()
    column, row = (
        (spots[..., axis].nan_to_num() * count).long().clamp(0, count - 1)
        for axis, count in ((0, grid.columns), (1, grid.rows))
    )
    counts = torch.zeros(len(spots), grid.cells)
    return counts.scatter_add_(-1, row * grid.columns + column, is_seen.float()).clamp(max=1)


class CellHeads(nn.Module):
    """Heads on the encoder's merged features and on the decoder's visual positions."""

    def __init__(self, encoder_size: int, hidden_size: int) -> None:
        super().__init__()
        self.colour = nn.Linear(encoder_size, len(COLOURS) + 1)
        self.shape = nn.Linear(encoder_size, len(SHAPES) + 1)
        self.middle = nn.Linear(encoder_size, 1)
        self.place = nn.Linear(encoder_size, 3)
        self.shift = nn.Linear(hidden_size, 6)
        self.motion = nn.Linear(hidden_size, len(SEEN) + 1)

    def cell_loss(self, features: Tensor, targets: CellTargets) -> tuple[Tensor, dict[str, float]]:
        """Returns the loss of features (B, S, encoder size), and shares of cells that are right."""
        colour, shape = self.colour(features).float(), self.shape(features).float()
        place, middle = self.place(features).float(), self.middle(features).float()[..., 0]
        is_thing = targets.colour < len(COLOURS)
        weight = torch.where(is_thing, 1.0, NONE_WEIGHT)
        loss = (
            _weighted(colour, targets.colour, weight)
            + _weighted(shape, targets.shape, weight)
            + F.binary_cross_entropy_with_logits(middle, targets.is_middle)
            + _known(place, targets.place)
        )
        is_right = [
            (guess.argmax(-1) == truth)[is_thing].float().mean().item()
            for guess, truth in ((colour, targets.colour), (shape, targets.shape))
        ]
        return loss, {'cell colour': is_right[0], 'cell shape': is_right[1]}

    def motion_loss(self, hidden: Tensor, targets: CellTargets) -> tuple[Tensor, dict[str, float]]:
        """Returns the loss of hidden states (B, S, hidden size) of the visual positions, and shares
        of cells that are right.
        """
        motion = self.motion(hidden).float()
        known = targets.motion >= 0
        weight = torch.where(targets.motion == len(SEEN), NONE_WEIGHT, 1.0) * known
        loss = _weighted(motion, targets.motion.clamp(min=0), weight) + _known(
            self.shift(hidden).float(), targets.shift
        )
        shown = known & (targets.motion < len(SEEN))
        return loss, {
            'cell motion': (motion.argmax(-1) == targets.motion)[shown].float().mean().item()
        }


def _weighted(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    losses = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction='none')
    return (losses * weight.flatten()).sum() / weight.sum()


def _known(guess: Tensor, targets: Tensor) -> Tensor:
    """Returns a smooth error where the target is known."""
    known = ~targets.isnan()
    return (
        F.smooth_l1_loss(guess[known], targets[known], beta=0.2)
        if known.any()
        else guess.sum() * 0.0
    )
