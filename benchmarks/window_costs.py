# SPDX-License-Identifier: Apache-2.0
"""What a caption costs in each window, counted and not timed: tokens computed and frames encoded
per caption, and gaps between two captions.

A scripted backend stands in for the model, so that the numbers are the same on every machine.

    python benchmarks/window_costs.py
"""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from penguin_ros.config import PenguinConfig
from penguin_ros.frame import Frame, Image
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Evidence
from penguin_ros.settings import with_values
from penguin_ros.testing.random_checkpoint import write_random_checkpoint
from penguin_ros.testing.scripted_backend import answering

SECOND = 1_000_000_000
SIZE = (480, 640)
FRAMES_PER_CAPTION, CAPTIONS = 4, 30
SCENES: dict[str, Callable[[int], int]] = {
    'stands still': lambda number: 0,
    'changes every 20 s': lambda number: number // 40,
    'changes every 5 s': lambda number: number // 10,
    'moves all the time': lambda number: number,
    'moves every other 10 s': lambda number: number if number // 20 % 2 else -1 - number // 20,
}


@dataclass
class Costs:
    """The evidence of the captions of one run."""

    evidence: list[Evidence] = field(default_factory=list)

    def row(self) -> str:
        """Cells of the table: per caption the frames, the tokens of the prompt, those computed and
        the frames encoded; the number of gaps between captions.
        """
        count = len(self.evidence)
        made = self.evidence
        sums = [
            sum(len(one.frames) for one in made),
            sum(one.stats.prompt_tokens for one in made),
            sum(one.stats.prompt_tokens - one.stats.reused_tokens for one in made),
            sum(len(one.frames) - one.stats.reused_frames for one in made),
        ]
        gaps = sum(
            later.start_ns > earlier.end_ns for earlier, later in zip(made, made[1:], strict=False)
        )
        return ' | '.join([*(f'{total / count:.1f}' for total in sums), str(gaps)])


def image(scene: int, number: int) -> Image:
    """An image of a scene. Scenes differ much; frames of one scene differ by noise."""
    rough = 240 * np.random.default_rng(abs(scene) * 2 + (scene < 0)).integers(
        0, 2, (*SIZE, 1)
    ).repeat(3, 2)
    return (rough + np.random.default_rng(number).integers(0, 8, (*SIZE, 1))).astype(np.uint8)


def run(checkpoint: Path, window: str, scene_of: Callable[[int], int]) -> Costs:
    """Makes a caption every two seconds of one stream of two frames a second, without
    precompute.
    """
    config = with_values(
        PenguinConfig(),
        {
            'model.checkpoint': str(checkpoint),
            'clip.window': window,
            'clip.precompute': 'off',
            'caption.max_tokens': 2,
        },
    )
    now = [SECOND]
    costs = Costs()
    answers = queue.SimpleQueue[Answer]()
    pipeline = Pipeline(config, ['front'], now_ns=lambda: now[0], backend_factory=answering())
    pipeline.open()
    pipeline.activate()
    try:
        for number in range(CAPTIONS * FRAMES_PER_CAPTION):
            now[0] += SECOND // 2
            pipeline.add_frame(Frame(now[0], image(scene_of(number), number), 'front'))
            if number % FRAMES_PER_CAPTION == FRAMES_PER_CAPTION - 1:
                pipeline.submit_caption('front', answers.put)
                costs.evidence.append(answers.get(timeout=60).evidence)
    finally:
        pipeline.close()
    return costs


def main() -> None:
    """Prints a table."""
    print(
        '| the image | window | frames | prompt tokens | computed | frames encoded | gaps |\n'
        '|---|---|---|---|---|---|---|'
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / 'checkpoint'
        write_random_checkpoint(checkpoint, shape='tiny')
        for name, scene_of in SCENES.items():
            for window in ('recent', 'sliding', 'growing'):
                print(
                    f'| {name} | `{window}` | {run(checkpoint, window, scene_of).row()} |',
                    flush=True,
                )


if __name__ == '__main__':
    main()
