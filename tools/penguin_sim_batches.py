# SPDX-License-Identifier: Apache-2.0
"""Turns clips of a shard into the tensors of one training step: patches, cell targets and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from penguin_sim_grids import INTERMEDIATE, KEY, Grid
from penguin_sim_heads import CellTargets, cell_targets
from penguin_sim_shards import Shard
from penguin_sim_words import Texts, caption_prompts
from torch import Tensor

from penguin_ros.preprocessing.patches import resized
from penguin_ros.simulation import words
from penguin_ros.simulation.language import parse_caption
from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.scene import COLOURS, SHAPES

PATCH, MERGE = 14, 2
LONG = 2
"""The number of questions per clip that are the longest."""
KIND_WEIGHTS = {'position': 4.0, 'motion': 3.0, 'yes_no': 2.0, 'count': 2.0}
"""How much likelier than others a question of a kind is asked; these kinds are learnt last."""
SIDES_ASKED = MOVES_ASKED = 2
COMPRESSED_SHARE, INTERMEDIATE_SHARE = 0.35, 0.8
"""The share of batches with intermediate frames, and the share of intermediate frames after the
first in these.
"""
GROUPS = 'captions', 'long texts', 'short texts'
SPACINGS = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.8, 0.9, 1.1, 1.3)
"""Seconds between two frames according to the labels: how things move has to be seen in the images,
not read off the labels.
"""


@dataclass(frozen=True)
class Batch:
    """The tensors of B clips.

    `patches` are (B, patches of its grid, values) per frame; the encoder learns from frame `taught`
    only. `prefix` (P,) are token ids, the visual ones at `visual` (S,). `groups` are texts of
    similar length, each (ids, targets) of (B, texts, length).
    """

    grids: tuple[Grid, ...]
    patches: list[Tensor]
    cells: CellTargets
    prefix: Tensor
    visual: Tensor
    groups: list[tuple[Tensor, Tensor]]
    taught: int


def make_batch(
    shard: Shard, rows: list[int], texts: Texts, random: np.random.Generator, questions: int
) -> Batch:
    """Makes a batch with `questions` of each clip, or with images only when that is 0."""
    frames = shard.frames[rows]
    grids = _grids(frames.shape[1], random)
    prefix = texts.prefix(_labels(frames.shape[1], random), [grid.cells for grid in grids])
    groups = _groups(shard, rows, texts, random, questions) if questions else []
    patches = [
        noisy(to_patches(seen_as(frames[:, at], grid)), random) for at, grid in enumerate(grids)
    ]
    return Batch(
        grids,
        patches,
        cell_targets(shard, rows, grids),
        torch.from_numpy(prefix),
        torch.from_numpy(np.flatnonzero(prefix == texts.image)),
        groups,
        int(random.integers(frames.shape[1])),
    )


def to_patches(frames: NDArray[np.uint8]) -> Tensor:
    """Converts (B, height, width, 3) uint8 to (B, patches, values) float32, with the numbers of
    penguin_ros.preprocessing.patches.
    """
    rows, columns = (size // (MERGE * PATCH) for size in frames.shape[1:3])
    blocks = torch.from_numpy(frames).view(-1, rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    return (
        blocks.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(len(frames), -1, 3 * PATCH * PATCH).float()
        / 127.5
        - 1
    )


def seen_as(frames: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Returns (B, height, width, 3), resized to a grid as the node does."""
    if frames.shape[1:3] == grid.size:
        return np.ascontiguousarray(frames)
    return np.stack([resized(frame, grid.size) for frame in frames])


def _grids(frames: int, random: np.random.Generator) -> tuple[Grid, ...]:
    """The first frame is a key frame, as in every clip; in some batches most others are
    intermediate ones.
    """
    is_compressed = random.random() < COMPRESSED_SHARE
    return KEY, *(
        INTERMEDIATE if is_compressed and random.random() < INTERMEDIATE_SHARE else KEY
        for _ in range(frames - 1)
    )


def noisy(patches: Tensor, random: np.random.Generator) -> Tensor:
    """Gives each frame another exposure, white balance and sensor noise, since another renderer
    will look different.
    """
    count = len(patches)
    colours = patches.view(count, -1, 3, PATCH * PATCH)
    gain = random.uniform(0.85, 1.15, (count, 1, 1, 1)) * random.uniform(
        0.95, 1.05, (count, 1, 3, 1)
    )
    offset = random.uniform(-0.08, 0.08, (count, 1, 1, 1))
    spread = random.uniform(0, 0.05, (count, 1, 1, 1))
    gain, offset, spread = (torch.from_numpy(values).float() for values in (gain, offset, spread))
    size, bank = patches[0].numel(), _noise()
    noise = torch.stack(
        [bank[start : start + size] for start in random.integers(0, len(bank) - size, count)]
    ).view_as(colours)
    return noise.mul_(spread).add_(offset).addcmul_(colours, gain).clamp_(-1, 1).view_as(patches)


@lru_cache(maxsize=1)
def _noise() -> Tensor:
    """The noise is drawn once, since drawing takes longer than everything else; every image takes a
    stretch from anywhere in it.
    """
    return torch.from_numpy(np.random.default_rng(1).standard_normal(2**21, np.float32))


def _labels(frames: int, random: np.random.Generator) -> tuple[float, ...]:
    spacing = random.choice(SPACINGS)
    return tuple(
        round(index * spacing + (random.choice((-0.1, 0.0, 0.0, 0.1)) if index else 0.0), 1)
        for index in range(frames)
    )


def _groups(
    shard: Shard, rows: Sequence[int], texts: Texts, random: np.random.Generator, questions: int
) -> list[tuple[Tensor, Tensor]]:
    """Returns captions, the longest answers, and the short ones: rows of one length waste
    little.
    """
    prompts, told, long, short = list(caption_prompts()), *(list[tuple[str, str]]() for _ in GROUPS)
    for row in rows:
        clip = shard.texts[row]
        known = clip['questions']
        more = _sides(clip['caption'], random) + _moves(shard, row, random)
        weights = np.array([KIND_WEIGHTS.get(kind, 1.0) for kind, _, _ in known])
        count = questions - len(more)
        chosen = np.resize(
            random.choice(len(known), min(count, len(known)), False, weights / weights.sum()), count
        )
        asked = sorted(
            [*more, *((known[index][1], known[index][2]) for index in chosen)], key=texts.length
        )
        prompt = prompts[random.integers(len(prompts)) if random.random() < 0.4 else 0]
        told.append((prompt, clip['caption']))
        long += asked[-LONG:]
        short += asked[:-LONG]
    return [_tensors(texts, group, len(rows)) for group in (told, long, short)]


def _sides(caption: str, random: np.random.Generator) -> list[tuple[str, str]]:
    """Returns two more questions about who is left of whom, which is the slowest thing to learn;
    none where only one thing is present.
    """
    found = parse_caption(caption)
    assert found is not None, caption
    names, pairs = [' '.join(name) for name in found.order], list[tuple[str, str]]()
    for _ in range(SIDES_ASKED if len(names) > 1 else 0):
        places = sorted(random.choice(len(names), 2, False))
        side = int(random.integers(2))  # of the thing that is asked about
        thing, other = names[places[side]], names[places[1 - side]]
        if random.random() < 0.3:
            guess = int(random.integers(2))
            pairs.append(
                (
                    words.SIDE_IS[0].format(thing=thing, other=other, side=words.SIDES[guess]),
                    words.YES if guess == side else words.NO,
                )
            )
        else:
            template = words.POSITION[random.integers(len(words.POSITION))]
            pairs.append(
                (template.format(thing=thing, other=other), f'{words.SIDES[side].capitalize()}.')
            )
    return pairs


def _moves(shard: Shard, row: int, random: np.random.Generator) -> list[tuple[str, str]]:
    """Returns two more questions about what two things do: when one is asked for, the motions of
    the others must not be answered.
    """
    known, pairs = np.flatnonzero(shard.motions[row] >= 0), list[tuple[str, str]]()
    for index in random.permutation(known)[:MOVES_ASKED]:
        colour, shape = shard.looks[row, index]
        thing = f'{list(COLOURS)[colour]} {SHAPES[shape]}'
        template = words.MOTION[random.integers(len(words.MOTION))]
        pairs.append((template.format(thing=thing), words.DOES[SEEN[shard.motions[row, index]]]))
    return pairs


def _tensors(texts: Texts, pairs: list[tuple[str, str]], clips: int) -> tuple[Tensor, Tensor]:
    ids, targets = texts.rows(pairs)
    return torch.from_numpy(ids).view(clips, -1, ids.shape[1]), torch.from_numpy(targets).view(
        clips, -1, ids.shape[1]
    )
