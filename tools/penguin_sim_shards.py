# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes with what is known about them, in numbered files that another machine can read.

A shard follows from seed, kind and number alone, so a run that is resumed sees the same shards as
an unbroken one. The file is also the program of the processes that draw.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from numpy.typing import NDArray
from penguin_sim_grids import HEIGHT, WIDTH, cells_of

from penguin_ros.preprocessing.patches import resized
from penguin_ros.simulation.clips import SimulatedClip, make_clip
from penguin_ros.simulation.language import caption
from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.questions import questions
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import COLOURS, MAX_THINGS, SHAPES, Scene
from penguin_ros.simulation.truth import truth, truth_of
from penguin_ros.simulation.world import World

MIN_SPOT_PIXELS = 24
"""The fewest pixels of a thing that count as seen."""
MAX_QUESTIONS = 12
SEEDS_PER_KIND = 10_000_000
PART_TRIES = 8
STRETCHES = (1.3, 2.0, 3.0)
"""How much longer a scene lasts than the clip that shows a part of it."""


@dataclass(frozen=True)
class Kind:
    """What the shards of one kind contain.

    There are `clips` scenes of a level, each seen in `frames` images at `fps`, or shard by shard in
    one of `lengths` in turn. `part_share` of the clips show a part of what goes on, as a live
    camera does.
    """

    name: str
    level: int
    clips: int
    frames: int
    fps: float = 1.0
    lengths: tuple[int, ...] = ()
    part_share: float = 0.0

    def of(self, number: int) -> Kind:
        """Returns what the shard of a number contains."""
        return (
            replace(self, frames=self.lengths[number % len(self.lengths)]) if self.lengths else self
        )


KINDS = {
    kind.name: kind
    for kind in (
        Kind('look', 3, 1024, 1),
        Kind('glance', 3, 256, 1),
        Kind('easy', 2, 256, 4),
        Kind('full', 3, 256, 4),
        Kind('hard', 4, 256, 4),
        Kind('other', 3, 128, 0, lengths=(4, 2, 6, 3, 8, 4, 5, 7), part_share=0.7),
    )
}


@dataclass(frozen=True)
class Shard:
    """N clips of T frames.

    `frames` are (N, T, height, width, 3) uint8. `cells` (N, T, cells of all GRIDS one after the
    other) int8 say which thing a cell shows, -1 for none. `spots` (N, T, MAX_THINGS, 3) float32 are
    the middle of the seen part in 0..1 and the logarithm of its pixels, NaN where it is not seen.
    `looks` (N, MAX_THINGS, 2) int8 are colour and shape, `motions` (N, MAX_THINGS) int8 indices in
    SEEN, -1 where unclear. `texts` are the caption and the questions (kind, question, answer) of
    each clip.
    """

    frames: NDArray[np.uint8]
    cells: NDArray[np.int8]
    spots: NDArray[np.float32]
    looks: NDArray[np.int8]
    motions: NDArray[np.int8]
    texts: list[dict[str, Any]]


def first_seed(seed: int, kind: Kind, number: int) -> int:
    """Returns the seed of a shard's first scene; kinds draw from separate ranges."""
    return (seed * len(KINDS) + list(KINDS).index(kind.name)) * SEEDS_PER_KIND + number * kind.clips


def make_shard(kind: Kind, first: int, count: int, is_varied: bool = True) -> Shard:
    """Draws the scenes first .. first + count: with `is_varied` as `varied_clip` does, else as
    `make_clip`.
    """
    with World(WIDTH, HEIGHT) as small, World(2 * WIDTH, 2 * HEIGHT) as large:
        clips = [
            varied_clip(kind, seed, small, large)
            if is_varied
            else make_clip(small, seed, kind.level, kind.frames, kind.fps, MAX_QUESTIONS)
            for seed in range(first, first + count)
        ]
    looks = np.full((count, MAX_THINGS, 2), -1, np.int8)
    motions = np.full((count, MAX_THINGS), -1, np.int8)
    for row, clip in enumerate(clips):
        for index, thing in enumerate(clip.scene.things):
            looks[row, index] = list(COLOURS).index(thing.colour), SHAPES.index(thing.shape)
        for sight in clip.truth.sights:
            motions[row, sight.index] = (
                SEEN.index(sight.motion) if sight.is_clear and kind.frames > 1 else -1
            )
    cells, spots = (
        np.stack([[known(segment) for segment in clip.segments] for clip in clips])
        for known in (cells_of, _spots)
    )
    return Shard(
        np.stack([clip.frames for clip in clips]),
        cells,
        spots,
        looks,
        motions,
        [_texts(clip) for clip in clips],
    )


def varied_clip(kind: Kind, seed: int, small: World, large: World) -> SimulatedClip:
    """Draws the clip of a seed as another renderer and another camera may show it.

    Some scenes have no blots below the things or a flat sky, half of them are drawn twice as large
    and reduced as the node does, and the times are not quite even.
    """
    source = random.Random(f'penguin training {seed}')
    part = _part(kind, seed, small, source) if source.random() < kind.part_share else None
    scene, start = part or (random_scene(seed, kind.level, (kind.frames - 1) / kind.fps), 0.0)
    if source.random() < 0.35:
        scene = replace(scene, light=replace(scene.light, shadow=0.0))
    if source.random() < 0.3:
        scene = replace(
            scene, background=replace(scene.background, zenith=scene.background.horizon)
        )
    stamps = [start + stamp for stamp in _stamps(kind, source)]
    small.load(scene)
    segments = np.stack([small.segment(stamp) for stamp in stamps])
    if source.random() < 0.5:
        large.load(scene)
        images = [resized(large.render(stamp), (HEIGHT, WIDTH)) for stamp in stamps]
    else:
        images = [small.render(stamp) for stamp in stamps]
    seen = truth_of(scene, list(segments), stamps[0], stamps[-1])
    return SimulatedClip(
        scene,
        np.stack(images),
        segments,
        np.array(stamps),
        seen,
        caption(seen, source),
        tuple(questions(seen, source, MAX_QUESTIONS)),
    )


def _part(kind: Kind, seed: int, world: World, source: random.Random) -> tuple[Scene, float] | None:
    """Returns a scene that lasts longer than its clip, and a beginning of the clip for which
    nothing is a matter of opinion.
    """
    lasts = (kind.frames - 1) / kind.fps
    total = lasts * source.choice(STRETCHES)
    scene = random_scene(seed, kind.level, total)
    for _ in range(PART_TRIES):
        start = source.uniform(0.0, total - lasts / 2)  # what has ended stands still
        if truth(scene, world, start, start + lasts, samples=2).is_clear:
            return scene, start
    return None


def _stamps(kind: Kind, source: random.Random) -> list[float]:
    if kind.frames == 1 or source.random() < 0.4:
        return [index / kind.fps for index in range(kind.frames)]
    start, step = source.uniform(0.0, 0.15), source.uniform(0.93, 0.95)
    return [
        (start + index * step + source.uniform(0.0, 0.03)) / kind.fps
        for index in range(kind.frames)
    ]


def _texts(clip: SimulatedClip) -> dict[str, Any]:
    return {
        'caption': clip.caption,
        'questions': [[one.kind, one.question, one.answer] for one in clip.questions],
    }


def _spots(segment: NDArray[np.int32]) -> NDArray[np.float32]:
    spots = np.full((MAX_THINGS, 3), np.nan, np.float32)
    for index in range(MAX_THINGS):
        rows, columns = np.nonzero(segment == index)
        if len(rows) >= MIN_SPOT_PIXELS:
            spots[index] = (
                (columns.mean() + 0.5) / WIDTH,
                (rows.mean() + 0.5) / HEIGHT,
                np.log(len(rows)),
            )
    return spots


def shard_path(folder: Path, kind: Kind, number: int) -> Path:
    """Returns the path of a shard."""
    return folder / f'{kind.name}_{number:05}.npz'


def write_shard(path: Path, shard: Shard) -> None:
    """Writes a shard, which appears whole or not at all."""
    draft = path.with_suffix('.draft.npz')
    np.savez(
        draft,
        frames=shard.frames,
        cells=shard.cells,
        spots=shard.spots,
        looks=shard.looks,
        motions=shard.motions,
        texts=np.frombuffer(json.dumps(shard.texts).encode(), np.uint8),
    )
    os.replace(draft, path)


def read_shard(path: Path) -> Shard:
    """Reads a shard."""
    with np.load(path) as arrays:
        return Shard(
            arrays['frames'],
            arrays['cells'],
            arrays['spots'],
            arrays['looks'],
            arrays['motions'],
            json.loads(arrays['texts'].tobytes()),
        )


def produce(folder: Path, seed: int, kind: Kind, start: int, ahead: int) -> None:
    """Draws shards start, start + 1 ... for ever, with at most `ahead` that nobody has taken; ends
    with its parent.
    """
    parent = os.getppid()
    number = start
    while os.getppid() == parent:
        if len(list(folder.glob(f'{kind.name}_?????.npz'))) >= ahead:
            time.sleep(0.5)
            continue
        write_shard(
            shard_path(folder, kind, number),
            make_shard(kind.of(number), first_seed(seed, kind, number), kind.clips),
        )
        number += 1


def wait_for(folder: Path, kind: Kind, number: int, is_kept: bool) -> Shard:
    """Returns a shard as soon as it is there and deletes it; with `is_kept`, shards come from a
    folder drawn before, which is read again in turn.
    """
    kept = len(list(folder.glob(f'{kind.name}_?????.npz'))) if is_kept else 0
    if is_kept and not kept:
        raise FileNotFoundError(f'{folder} holds no shard of the kind {kind.name}')
    path = shard_path(folder, kind, number % kept if kept else number)
    while not path.exists():
        time.sleep(0.05)
    shard = read_shard(path)
    if not is_kept:
        path.unlink()
    return shard


def start_painter(
    folder: Path, seed: int, kind: Kind, start: int, ahead: int
) -> subprocess.Popen[bytes]:
    """Runs `produce` in a process of its own, which needs no PyTorch."""
    order = json.dumps(
        {'folder': str(folder), 'seed': seed, 'kind': asdict(kind), 'start': start, 'ahead': ahead}
    )
    return subprocess.Popen([sys.executable, str(Path(__file__).resolve()), order])


if __name__ == '__main__':
    given = json.loads(sys.argv[1])
    produce(
        Path(given['folder']), given['seed'], Kind(**given['kind']), given['start'], given['ahead']
    )
