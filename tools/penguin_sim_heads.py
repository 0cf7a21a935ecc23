# SPDX-License-Identifier: Apache-2.0
"""Extra heads that exist in training only: what each visual token shows, and how it moved. Knows no words.

The encoder's heads learn from every cell of every frame; the decoder's, on visual positions, compare frames. Both teach in one
picture what answers alone would teach in a hundred. Exported checkpoints do not hold them.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from penguin_sim_shards import CELL, HEIGHT, WIDTH, Shard
from torch import Tensor, nn

from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.scene import COLOURS, SHAPES

COLUMNS, ROWS = WIDTH // CELL, HEIGHT // CELL
NONE_WEIGHT = 0.3
"""Of a cell that shows no thing; most do not."""
MEAN_LOG_AREA = 6.0


@dataclass(frozen=True)
class CellTargets:
    """For B clips of T frames with C cells: `colour`, `shape` (B, T, C) class, the last for none; `place` (B, T, C, 3) from the
    cell's middle to that of its thing in cells, and its size; `is_middle` (B, T, C): a thing's middle lies here; `shift`
    (B, T, C, 6) change of place since the frame before and since the first, NaN: not known; `motion` (B, C) class in the last
    frame, -1: not known."""

    colour: Tensor
    shape: Tensor
    place: Tensor
    is_middle: Tensor
    shift: Tensor
    motion: Tensor


def cell_targets(shard: Shard, rows: list[int]) -> CellTargets:
    """Of some clips of a shard."""
    cells = torch.from_numpy(shard.cells[rows].astype('int64'))
    spots, looks = torch.from_numpy(shard.spots[rows]), torch.from_numpy(shard.looks[rows].astype('int64'))
    motions = torch.from_numpy(shard.motions[rows].astype('int64'))
    none, thing = cells < 0, cells.clamp(min=0)
    frames = cells.shape[1]
    colour, shape = (_of_cell(looks[:, None, :, part].expand(-1, frames, -1), thing) for part in (0, 1))
    scale = torch.tensor((COLUMNS, ROWS, 1.0))
    places = spots * scale - torch.tensor((0.0, 0.0, MEAN_LOG_AREA))
    changes = torch.cat((places - places.roll(1, 1), places - places[:, :1]), -1)
    changes[:, 0] = float('nan')
    motion = _of_cell(motions, thing[:, -1]).masked_fill(none[:, -1], len(SEEN))
    middles = torch.stack([torch.arange(COLUMNS).repeat(ROWS), torch.arange(ROWS).repeat_interleave(COLUMNS)], -1) + 0.5
    place = _of_cell(places, thing) - torch.cat((middles, torch.zeros(COLUMNS * ROWS, 1)), -1)
    return CellTargets(colour.masked_fill(none, len(COLOURS)), shape.masked_fill(none, len(SHAPES)),
                       place.masked_fill(none[..., None], float('nan')), _middles(spots),
                       _of_cell(changes, thing).masked_fill(none[..., None], float('nan')), motion)


def _of_cell(values: Tensor, thing: Tensor) -> Tensor:
    """values (..., things[, n]) at thing (..., cells)."""
    if values.ndim == thing.ndim:
        return values.gather(-1, thing)
    return values.gather(-2, thing[..., None].expand(*thing.shape, values.shape[-1]))


def _middles(spots: Tensor) -> Tensor:
    is_seen = ~spots[..., 0].isnan()
    column, row = ((spots[..., axis].nan_to_num() * count).long().clamp(0, count - 1)
                   for axis, count in ((0, COLUMNS), (1, ROWS)))
    counts = torch.zeros(*spots.shape[:2], COLUMNS * ROWS)
    return counts.scatter_add_(-1, row * COLUMNS + column, is_seen.float()).clamp(max=1)


class CellHeads(nn.Module):
    """What the encoder's merged features, and the decoder's visual positions, must tell."""

    def __init__(self, encoder_size: int, hidden_size: int) -> None:
        super().__init__()
        self.colour, self.shape = nn.Linear(encoder_size, len(COLOURS) + 1), nn.Linear(encoder_size, len(SHAPES) + 1)
        self.middle, self.place = nn.Linear(encoder_size, 1), nn.Linear(encoder_size, 3)
        self.shift, self.motion = nn.Linear(hidden_size, 6), nn.Linear(hidden_size, len(SEEN) + 1)

    def look_loss(self, features: Tensor, targets: CellTargets) -> tuple[Tensor, dict[str, float]]:
        """From features (B, T, C, encoder size)."""
        colour, shape = self.colour(features).float(), self.shape(features).float()
        place, middle = self.place(features).float(), self.middle(features).float()[..., 0]
        is_thing = targets.colour < len(COLOURS)
        weight = torch.where(is_thing, 1.0, NONE_WEIGHT)
        loss = (_weighted(colour, targets.colour, weight) + _weighted(shape, targets.shape, weight)
                + F.binary_cross_entropy_with_logits(middle, targets.is_middle) + _known(place, targets.place))
        is_right = [(guess.argmax(-1) == truth)[is_thing].float().mean().item()
                    for guess, truth in ((colour, targets.colour), (shape, targets.shape))]
        return loss, {'cell colour': is_right[0], 'cell shape': is_right[1]}

    def motion_loss(self, hidden: Tensor, targets: CellTargets) -> tuple[Tensor, dict[str, float]]:
        """From hidden states (B, T, C, hidden size) of the visual positions."""
        motion = self.motion(hidden[:, -1]).float()
        known = targets.motion >= 0
        weight = torch.where(targets.motion == len(SEEN), NONE_WEIGHT, 1.0) * known
        loss = _weighted(motion, targets.motion.clamp(min=0), weight) + _known(self.shift(hidden).float(), targets.shift)
        shown = known & (targets.motion < len(SEEN))
        return loss, {'cell motion': (motion.argmax(-1) == targets.motion)[shown].float().mean().item()}


def _weighted(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    losses = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction='none')
    return (losses * weight.flatten()).sum() / weight.sum()


def _known(guess: Tensor, targets: Tensor) -> Tensor:
    """Smooth error where the target is known."""
    known = ~targets.isnan()
    return F.smooth_l1_loss(guess[known], targets[known], beta=0.2) if known.any() else guess.sum() * 0.0
