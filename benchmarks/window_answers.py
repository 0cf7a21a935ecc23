# SPDX-License-Identifier: Apache-2.0
"""Which window has the better answers: the small model watches simulated scenes and is asked about
the present all the time.

The result is the same on every machine but for rounding. An answer is compared with the truth of
exactly the time that its own evidence names. Between two scenes no window sees anything, so that
none shows both.

    python benchmarks/window_answers.py
"""

from __future__ import annotations

import argparse
import queue
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from penguin_ros.config import PenguinConfig
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Request
from penguin_ros.settings import with_values
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.questions import questions
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.scoring import CaptionScore, pooled, score_answer, score_caption, wilson
from penguin_ros.simulation.truth import Truth, truth
from penguin_ros.simulation.world import World

WINDOWS = 'recent', 'sliding', 'growing'
LENGTHS, PAUSE_S = (4, 12, 24), 60
"""The frames of a scene, one a second, and the seconds between two scenes."""
QUESTIONS, FIRST = 4, 5000
"""The questions per frame, and the first held-out scene: others than those that scores take."""


@dataclass
class Tally:
    """What was right, and what it took."""

    answers: list[bool] = field(default_factory=list)
    captions: list[CaptionScore] = field(default_factory=list)
    frames: int = 0
    computed: int = 0

    def row(self) -> str:
        """Cells of the table."""
        facts = self.captions
        right = wilson(sum(self.answers), len(self.answers))
        precision = pooled([one.right for one in facts], [one.claimed for one in facts])
        recall = pooled([one.right for one in facts], [one.wanted for one in facts])
        return (
            f'{self.frames / len(facts):.1f} | {self.computed / len(facts):.0f} | '
            f'{len(self.answers)} | {right.value:.1%} ({right.low:.1%} to {right.high:.1%}) | '
            f'{precision.value:.1%} | {recall.value:.1%}'
        )


class AskedPipeline:
    """A pipeline with the model, one camera, and its present."""

    def __init__(self, config: PenguinConfig) -> None:
        self._now_ns = NANOSECONDS
        self._pipeline = Pipeline(config, ['front'], now_ns=lambda: self._now_ns)
        self._pipeline.open()
        self._pipeline.activate()

    def see(self, frame: Frame) -> None:
        """Shows the newest frame."""
        self._now_ns = frame.stamp_ns
        self._pipeline.add_frame(frame)

    def ask(self, text: str) -> Answer:
        """Asks about the present; '' asks for a caption."""
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        if text:
            self._pipeline.submit(Request('question', text, camera='front'), answers.put)
        else:
            self._pipeline.submit_caption('front', answers.put)
        answer = answers.get(timeout=60)
        if answer.error is not None:
            raise answer.error
        return answer

    def close(self) -> None:
        """Ends the pipeline."""
        self._pipeline.close()


def moments(world: World, frames: int, scenes: int) -> Iterator[tuple[Frame, Scene, int]]:
    """Yields every frame of a stream, its scene, and when that scene began (ns)."""
    now_ns = 10 * NANOSECONDS
    for number in range(scenes):
        scene, began_ns = random_scene(HELD_OUT[FIRST + number], 3, frames - 1.0), now_ns
        for second in range(frames):
            world.load(scene)  # asking for the truth may have loaded another
            yield Frame(now_ns, world.render(float(second)), 'front'), scene, began_ns
            now_ns += NANOSECONDS
        now_ns += PAUSE_S * NANOSECONDS


def watched(world: World, config: PenguinConfig, frames: int, scenes: int) -> Tally:
    """Watches one stream through one window: a caption and some questions at every frame."""
    tally = Tally()
    asked = AskedPipeline(config)
    source = random.Random(1)
    try:
        for frame, scene, began_ns in moments(world, frames, scenes):
            asked.see(frame)
            caption = asked.ask('')
            seen = _truth_of(world, scene, began_ns, caption)
            if seen.is_clear:
                tally.captions.append(score_caption(caption.text, seen))
                tally.frames += len(caption.evidence.frames)
                tally.computed += (
                    caption.evidence.stats.prompt_tokens - caption.evidence.stats.reused_tokens
                )
            for item in questions(seen, source, QUESTIONS):
                tally.answers.append(score_answer(asked.ask(item.question).text, item.answer))
    finally:
        asked.close()
    return tally


def _truth_of(world: World, scene: Scene, began_ns: int, answer: Answer) -> Truth:
    start, end = (
        max(0.0, (stamp - began_ns) / NANOSECONDS)
        for stamp in (answer.evidence.start_ns, answer.evidence.end_ns)
    )
    return truth(scene, world, start, end)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--scenes',
        type=int,
        default=20,
        help='scenes of the longest kind; of the others as many more as they are shorter '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--intermediate-tokens',
        type=int,
        default=12,
        help='of frames similar to the latest key frame, which has 24 (default: %(default)s)',
    )
    return parser.parse_args()


def main() -> None:
    """Prints a table."""
    options = parsed()
    checkpoint = shipped_model()
    if checkpoint is None:
        raise SystemExit('engines/penguin_sim has no weights here')
    base = with_values(
        PenguinConfig(),
        {
            'model.checkpoint': str(checkpoint),
            'model.backend': 'onnxruntime',
            'clip.fps': 1.0,
            'clip.max_frames': 8,
            'clip.precompute': 'off',
            'visual.policy': 'fixed',
            'visual.key_tokens': 24,
            'visual.intermediate_tokens': options.intermediate_tokens,
        },
    )
    model = with_bundle(base.model)
    print(
        '| a scene lasts | window | frames | tokens computed | asked | answers right '
        '| captions: precision | recall |'
    )
    print('|---' * 8 + '|')
    with World() as world:
        for frames in LENGTHS:
            for window in WINDOWS:
                config = with_values(base, {'model.bundle': model.bundle, 'clip.window': window})
                tally = watched(world, config, frames, options.scenes * LENGTHS[-1] // frames)
                print(f'| {frames} s | `{window}` | {tally.row()} |', flush=True)


if __name__ == '__main__':
    main()
