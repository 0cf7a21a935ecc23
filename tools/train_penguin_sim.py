# SPDX-License-Identifier: Apache-2.0
"""Trains the small model of the simulated world from nothing, or goes on where a state file says.
Knows the order of lessons.

First the encoder learns what cells of single pictures show, then the LLM learns to tell it, then
both learn from clips.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault(
    'OMP_WAIT_POLICY', 'PASSIVE'
)  # threads that spin would wait for time slices where cores are shared

import numpy as np
import torch
from penguin_sim_batches import make_batch
from penguin_sim_checkpoint import sim_shape, write_sim_checkpoint
from penguin_sim_learner import LossWeights, Trainer
from penguin_sim_network import compile_layers
from penguin_sim_scores import draw_curve, score, table
from penguin_sim_shards import KINDS, Shard, make_shard, start_painter, wait_for
from penguin_sim_words import Texts, sim_tokenizer

from penguin_ros.console import progress_bar, status_line
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.testing.published_files import write_tokenizer

BACKGROUND, WARM_STEPS, LAST_SHARE, LEAST_RATE = 2, 60, 0.3, 0.03


@dataclass(frozen=True)
class Lesson:
    """`kinds` of shards in turn, + joins two; questions per clip (0: pictures only); clips per
    step; the losses' weights.
    """

    kinds: tuple[str, ...]
    questions: int
    batch: int
    weighting: LossWeights


LESSONS = {
    'look': Lesson(('look',), 0, 48, LossWeights()),
    'tell': Lesson(('look', 'easy+glance'), 6, 24, LossWeights(is_encoder_trained=False)),
    'watch': Lesson(
        ('full+other+other', 'hard+other+other', 'easy+glance', 'full+hard'),
        8,
        24,
        LossWeights(look=2.0, motion=1.0),
    ),
}
SCHEDULE = 'look:13,tell:4,watch:140'


@dataclass
class Progress:
    """Where a run stands. `taken` shards per kind; `done` shards of the schedule; `losses` and
    `scores` for the curve.
    """

    seed: int
    done: int = 0
    clips: int = 0
    seconds: float = 0.0
    taken: dict[str, int] = field(default_factory=dict)
    losses: list[dict[str, float]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """One run of the tool: draws scenes in processes of its own, learns, scores, writes."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options, self._is_smoke = options, options.smoke > 0
        self._kinds = {
            name: replace(kind, clips=24) if self._is_smoke else kind
            for name, kind in KINDS.items()
        }
        device = (
            'cuda'
            if options.device == 'auto' and torch.cuda.is_available()
            else options.device.replace('auto', 'cpu')
        )
        tokenizer = sim_tokenizer()
        shape = sim_shape(tokenizer)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='penguin_sim_')))
        write_tokenizer(folder, tokenizer)
        self._texts = Texts(folder, shape.image_token_id)
        self._learner, self._at = Trainer(shape, options.seed, device), Progress(options.seed)
        self._random = np.random.default_rng(options.seed)
        if options.resume:
            self._restore()
        self._shards = options.shards or folder
        self._plan = [
            name
            for part in options.level.split(',')
            for name in [part.split(':')[0]] * int(part.split(':')[1])
        ]
        self._stack, self._painters = stack, set[str]()
        self._held_out: Shard | None = None
        self._is_stopped = False  # SIGTERM: after this shard, with scores and state
        self._begun = self._reported = time.monotonic()
        self._reported_at = self._at.done

    def _paint(self, name: str) -> None:
        """Starts a process that draws shards of a kind; it ends with this one."""
        if self._options.shards or name in self._painters:
            return
        self._painters.add(name)
        painter = start_painter(
            self._shards, self._at.seed, self._kinds[name], self._at.taken.get(name, 0), BACKGROUND
        )
        self._stack.callback(painter.terminate)

    def go(self) -> None:
        """To the end of the schedule or of the time."""
        minutes = self._options.smoke / 60 * 0.5 if self._is_smoke else self._options.minutes
        last = min(len(self._plan), self._at.done + (self._options.stop_after or len(self._plan)))
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, '_is_stopped', True))
        with progress_bar('training', len(self._plan)) as show:
            while (
                self._at.done < last
                and not self._is_stopped
                and not (minutes and self._elapsed() > minutes * 60)
            ):
                self._learn_shards(LESSONS[self._plan[self._at.done]])
                show(self._at.done, f'{self._plan[self._at.done - 1]}, {self._at.clips} clips')
                if (
                    time.monotonic() - self._reported > self._options.report * 60
                    or self._at.done == last
                ):
                    self.report()
        if self._reported_at != self._at.done:
            self.report()

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _learn_shards(self, lesson: Lesson) -> None:
        """The next of the lesson's kinds; those joined by + are mixed batch by batch, since one
        alone makes forget the other.
        """
        position = sum(name == self._plan[self._at.done] for name in self._plan[: self._at.done])
        names, begun = lesson.kinds[position % len(lesson.kinds)], time.monotonic()
        batches: list[tuple[float, Shard, list[int]]] = []
        for name in {kind: None for kinds in lesson.kinds for kind in kinds.split('+')}:
            self._paint(name)
        for name in names.split('+'):
            number = self._at.taken.get(name, 0)
            shard = wait_for(
                self._shards, self._kinds[name], number, self._options.shards is not None
            )
            batches += self._batches(shard, lesson.batch)
            self._at.taken[name] = number + 1
        waited, sums = time.monotonic() - begun, list[dict[str, float]]()
        for part, shard, rows in sorted(batches, key=lambda batch: batch[0]):
            batch = make_batch(shard, rows, self._texts, self._random, lesson.questions)
            sums.append(
                self._learner.learn(
                    batch, lesson.weighting, self._options.rate * self._rate_factor(part)
                )
            )
        count = sum(len(rows) for _, _, rows in batches)
        self._at.done, self._at.clips = self._at.done + 1, self._at.clips + count
        self._tell(names, sums, count, begun, waited)

    def _batches(self, shard: Shard, size: int) -> list[tuple[float, Shard, list[int]]]:
        """(place in the shards' common order, shard, rows) of every step."""
        order = np.concatenate(
            [self._random.permutation(len(shard.texts)) for _ in range(self._options.repeats)]
        ).tolist()
        size = size if shard.frames.shape[1] > 1 else size * 4 // 3  # a picture is less than a clip
        return [
            ((start + 0.5) / len(order), shard, order[start : start + size])
            for start in range(0, len(order), size)
        ]

    def _tell(
        self, names: str, sums: list[dict[str, float]], count: int, begun: float, waited: float
    ) -> None:
        self._at.seconds += time.monotonic() - begun
        parts = dict.fromkeys(part for one in sums for part in one)
        means = {part: float(np.mean([one[part] for one in sums if part in one])) for part in parts}
        self._at.losses.append({'clips': self._at.clips, **means})
        pace = count / (time.monotonic() - begun)
        status_line(
            f'{self._at.done}/{len(self._plan)} {names}: {self._at.clips} clips, {pace:.1f}/s, waited {waited:.1f} s, '
            f'' + ', '.join(f'{part} {mean:.3f}' for part, mean in means.items())
        )

    def _rate_factor(self, part: float) -> float:
        """Warm-up over the first steps of all, and down over the last share of the schedule."""
        left = 1 - (self._at.done + part) / len(self._plan)
        return min(
            1.0,
            (self._learner.steps + 1) / WARM_STEPS,
            LEAST_RATE + (1 - LEAST_RATE) * left / LAST_SHARE,
        )

    def report(self) -> None:
        """Scores, checkpoint, curve, state."""
        network = self._learner.averaged()
        if LESSONS[self._plan[self._at.done - 1]].questions:
            self._held_out = self._held_out or self._drawn_held_out()
            counts, lines = score(network, self._held_out, self._texts)
            self._at.scores.append({'clips': self._at.clips, 'counts': counts})
            for line in lines[:6]:
                status_line(f'    {line}')
            status_line(
                f'SCORES {self._at.clips} clips, {self._at.seconds / 60:.0f} min: {table(counts)}'
            )
        write_sim_checkpoint(
            self._options.out,
            {name: value.cpu().numpy() for name, value in network.state_dict().items()},
        )
        self._save()
        self._reported, self._reported_at = time.monotonic(), self._at.done

    def _drawn_held_out(self) -> Shard:
        return make_shard(
            self._kinds['full'],
            HELD_OUT.start,
            4 if self._is_smoke else self._options.scenes,
            is_varied=False,
        )

    def _save(self) -> None:
        path = self._options.state
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_curve(path.with_suffix('.png'), self._at.losses, self._at.scores)
        draft = path.with_suffix('.draft')
        torch.save(
            {
                'learner': self._learner.state(),
                'progress': vars(self._at),
                'random': self._random.bit_generator.state,
            },
            draft,
        )
        os.replace(draft, path)

    def _restore(self) -> None:
        saved = torch.load(self._options.state, map_location='cpu', weights_only=False)
        self._learner.restore(saved['learner'])
        self._at = Progress(**saved['progress'])
        self._random.bit_generator.state = saved['random']


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'engines' / 'penguin_sim',
        help='folder of the checkpoint',
    )
    parser.add_argument(
        '--state',
        type=Path,
        default=ROOT / '.cache' / 'penguin_sim.state',
        help='file that a run goes on from',
    )
    parser.add_argument('--resume', action='store_true', help='go on from the state file')
    parser.add_argument(
        '--minutes',
        type=float,
        default=0.0,
        help='stop after so long (0: when the schedule is done)',
    )
    parser.add_argument(
        '--stop-after',
        type=int,
        default=0,
        metavar='SHARDS',
        help='stop after so many (0: no limit)',
    )
    parser.add_argument(
        '--level',
        default=SCHEDULE,
        metavar='SCHEDULE',
        help=f'lessons and their shards ({SCHEDULE})',
    )
    parser.add_argument('--seed', type=int, default=0, help='another seed sees other scenes')
    parser.add_argument(
        '--repeats', type=int, default=2, help='how often each scene is learnt from'
    )
    parser.add_argument('--rate', type=float, default=2e-3, help='highest learning rate')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument(
        '--compile',
        action='store_true',
        help='a quarter faster after some minutes; needs a C++ compiler',
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='threads of PyTorch (0: its default)'
    )
    parser.add_argument(
        '--shards',
        type=Path,
        help='folder of scenes drawn before, read in turn; none are drawn then',
    )
    parser.add_argument(
        '--report',
        type=float,
        default=4.0,
        metavar='MINUTES',
        help='time between scores and checkpoints',
    )
    parser.add_argument('--scenes', type=int, default=64, help='held-out scenes per score')
    parser.add_argument(
        '--smoke',
        type=float,
        default=0.0,
        metavar='SECONDS',
        help='everything once, briefly: for tests',
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.compile:
        compile_layers()
    with ExitStack() as stack:
        run = Run(options, stack)
        run.go()
    return 0


if __name__ == '__main__':
    sys.exit(main())
