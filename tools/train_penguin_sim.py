# SPDX-License-Identifier: Apache-2.0
"""Trains the small model of the simulated world from nothing, or resumes a run from its state file.

The curriculum has three stages: the encoder learns what the cells of single images show, then the
LLM learns to put it into words, then both learn from clips.
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
# Threads that spin would wait for time slices where cores are shared.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np
import torch
from penguin_sim_batches import make_batch
from penguin_sim_checkpoint import sim_shape, write_sim_checkpoint
from penguin_sim_network import compile_layers
from penguin_sim_scores import draw_curve, score, table
from penguin_sim_shards import KINDS, Shard, make_shard, start_painter, wait_for
from penguin_sim_trainer import LossWeights, Trainer
from penguin_sim_words import Texts, sim_tokenizer

from penguin_ros.console import progress_bar, status_line
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.testing.published_files import write_tokenizer

BACKGROUND = 2
WARM_STEPS = 60
LAST_SHARE = 0.3
LEAST_RATE = 0.03


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum.

    `kinds` of shards take turns, and those joined by + are mixed; `questions` per clip are asked
    (0: the network learns from images only); a step has a `batch` of clips; `loss_weights` weigh
    its losses.
    """

    kinds: tuple[str, ...]
    questions: int
    batch: int
    loss_weights: LossWeights


STAGES = {
    'encoder': Stage(('look',), 0, 48, LossWeights()),
    'text': Stage(('look', 'easy+glance'), 6, 24, LossWeights(is_encoder_trained=False)),
    'clips': Stage(
        ('full+other+other', 'hard+other+other', 'easy+glance', 'full+hard'),
        8,
        24,
        LossWeights(cells=2.0, motion=1.0),
    ),
}
SCHEDULE = 'encoder:13,text:4,clips:140'


@dataclass
class RunState:
    """How far a run is. `taken` counts the shards of each kind, `done` those of the schedule;
    `losses` and `scores` make the curve.
    """

    seed: int
    done: int = 0
    clips: int = 0
    seconds: float = 0.0
    taken: dict[str, int] = field(default_factory=dict)
    losses: list[dict[str, float]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """One run of the tool: it has scenes drawn in processes of their own, trains, scores and
    writes.
    """

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        self._is_smoke = options.smoke > 0
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
        self._trainer = Trainer(shape, options.seed, device)
        self._state = RunState(options.seed)
        self._random = np.random.default_rng(options.seed)
        if options.resume:
            self._restore()
        self._shards = options.shards or folder
        self._schedule = [
            name
            for part in options.schedule.split(',')
            for name in [part.split(':')[0]] * int(part.split(':')[1])
        ]
        self._stack = stack
        self._painters: set[str] = set()
        self._held_out: Shard | None = None
        self._is_stopped = False  # SIGTERM: after this shard, with scores and state
        self._begun = self._reported = time.monotonic()
        self._reported_at = self._state.done

    def _paint(self, name: str) -> None:
        """Starts a process that draws the shards of a kind; it ends with this one."""
        if self._options.shards or name in self._painters:
            return
        self._painters.add(name)
        painter = start_painter(
            self._shards,
            self._state.seed,
            self._kinds[name],
            self._state.taken.get(name, 0),
            BACKGROUND,
        )
        self._stack.callback(painter.terminate)

    def go(self) -> None:
        """Trains to the end of the schedule or of the time."""
        minutes = self._options.smoke / 60 * 0.5 if self._is_smoke else self._options.minutes
        last = min(
            len(self._schedule),
            self._state.done + (self._options.stop_after or len(self._schedule)),
        )
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, '_is_stopped', True))
        with progress_bar('training', len(self._schedule)) as show:
            while (
                self._state.done < last
                and not self._is_stopped
                and not (minutes and self._elapsed() > minutes * 60)
            ):
                self._learn_shards(STAGES[self._schedule[self._state.done]])
                show(
                    self._state.done,
                    f'{self._schedule[self._state.done - 1]}, {self._state.clips} clips',
                )
                if (
                    time.monotonic() - self._reported > self._options.report * 60
                    or self._state.done == last
                ):
                    self.report()
        if self._reported_at != self._state.done:
            self.report()

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _learn_shards(self, stage: Stage) -> None:
        """Trains on the next of the stage's kinds. Those joined by + are mixed batch by batch,
        since with one alone the network would forget the other.
        """
        position = sum(
            name == self._schedule[self._state.done] for name in self._schedule[: self._state.done]
        )
        names, begun = stage.kinds[position % len(stage.kinds)], time.monotonic()
        batches: list[tuple[float, Shard, list[int]]] = []
        for name in {kind: None for kinds in stage.kinds for kind in kinds.split('+')}:
            self._paint(name)
        for name in names.split('+'):
            number = self._state.taken.get(name, 0)
            shard = wait_for(
                self._shards, self._kinds[name], number, self._options.shards is not None
            )
            batches += self._batches(shard, stage.batch)
            self._state.taken[name] = number + 1
        waited, sums = time.monotonic() - begun, list[dict[str, float]]()
        for part, shard, rows in sorted(batches, key=lambda batch: batch[0]):
            batch = make_batch(shard, rows, self._texts, self._random, stage.questions)
            sums.append(
                self._trainer.learn(
                    batch, stage.loss_weights, self._options.rate * self._rate_factor(part)
                )
            )
        count = sum(len(rows) for _, _, rows in batches)
        self._state.done += 1
        self._state.clips += count
        self._note_losses(names, sums, count, begun, waited)

    def _batches(self, shard: Shard, size: int) -> list[tuple[float, Shard, list[int]]]:
        """Returns (place in the shards' common order, shard, rows) of every step."""
        order = np.concatenate(
            [self._random.permutation(len(shard.texts)) for _ in range(self._options.repeats)]
        ).tolist()
        size = size if shard.frames.shape[1] > 1 else size * 4 // 3  # a picture is less than a clip
        return [
            ((start + 0.5) / len(order), shard, order[start : start + size])
            for start in range(0, len(order), size)
        ]

    def _note_losses(
        self, names: str, sums: list[dict[str, float]], count: int, begun: float, waited: float
    ) -> None:
        self._state.seconds += time.monotonic() - begun
        parts = dict.fromkeys(part for one in sums for part in one)
        means = {part: float(np.mean([one[part] for one in sums if part in one])) for part in parts}
        self._state.losses.append({'clips': self._state.clips, **means})
        pace = count / (time.monotonic() - begun)
        status_line(
            f'{self._state.done}/{len(self._schedule)} {names}: {self._state.clips} clips, '
            f'{pace:.1f}/s, waited {waited:.1f} s, '
            + ', '.join(f'{part} {mean:.3f}' for part, mean in means.items())
        )

    def _rate_factor(self, part: float) -> float:
        """Warms up over the first steps of all, and decays over the last share of the schedule."""
        left = 1 - (self._state.done + part) / len(self._schedule)
        return min(
            1.0,
            (self._trainer.steps + 1) / WARM_STEPS,
            LEAST_RATE + (1 - LEAST_RATE) * left / LAST_SHARE,
        )

    def report(self) -> None:
        """Writes scores, checkpoint, curve and state."""
        network = self._trainer.averaged()
        if STAGES[self._schedule[self._state.done - 1]].questions:
            self._held_out = self._held_out or self._drawn_held_out()
            counts, lines = score(network, self._held_out, self._texts)
            self._state.scores.append({'clips': self._state.clips, 'counts': counts})
            for line in lines[:6]:
                status_line(f'    {line}')
            minutes = self._state.seconds / 60
            status_line(f'SCORES {self._state.clips} clips, {minutes:.0f} min: {table(counts)}')
        write_sim_checkpoint(
            self._options.out,
            {name: value.cpu().numpy() for name, value in network.state_dict().items()},
        )
        self._save()
        self._reported = time.monotonic()
        self._reported_at = self._state.done

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
        draw_curve(path.with_suffix('.png'), self._state.losses, self._state.scores)
        draft = path.with_suffix('.draft')
        torch.save(
            {
                'trainer': self._trainer.state(),
                'run': vars(self._state),
                'random': self._random.bit_generator.state,
            },
            draft,
        )
        os.replace(draft, path)

    def _restore(self) -> None:
        saved = torch.load(self._options.state, map_location='cpu', weights_only=False)
        self._trainer.restore(saved['trainer'])
        self._state = RunState(**saved['run'])
        self._random.bit_generator.state = saved['random']


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_files(parser)
    _add_training(parser)
    _add_reports(parser)
    return parser.parse_args()


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    out, state = ROOT / 'engines' / 'penguin_sim', ROOT / '.cache' / 'penguin_sim.state'
    add('--out', type=Path, default=out, help='folder of the checkpoint')
    add('--state', type=Path, default=state, help='file from which a run can be resumed')
    add('--resume', action='store_true', help='resume from the state file')
    add(
        '--shards',
        type=Path,
        help='folder of scenes drawn before, which are read in turn; no others are drawn',
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--schedule',
        default=SCHEDULE,
        metavar='STAGE:SHARDS,...',
        help=f'stages of the curriculum, each with its number of shards ({SCHEDULE})',
    )
    add('--seed', type=int, default=0, help='another seed sees other scenes')
    add('--repeats', type=int, default=2, help='how often the network learns from each scene')
    add('--rate', type=float, default=2e-3, help='highest learning rate')
    add('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    add(
        '--compile',
        action='store_true',
        help='train a quarter faster after some minutes of compiling; needs a C++ compiler',
    )
    add('--threads', type=int, default=0, help='threads of PyTorch (0: its default)')


def _add_reports(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--minutes',
        type=float,
        default=0.0,
        help='stop after this time (0: when the schedule is done)',
    )
    add(
        '--stop-after',
        type=int,
        default=0,
        metavar='SHARDS',
        help='stop after this many (0: no limit)',
    )
    add(
        '--report',
        type=float,
        default=4.0,
        metavar='MINUTES',
        help='time between scores and checkpoints',
    )
    add('--scenes', type=int, default=64, help='held-out scenes per score')
    add(
        '--smoke',
        type=float,
        default=0.0,
        metavar='SECONDS',
        help='do everything once and briefly, for tests',
    )


def main() -> int:
    """Trains as the command line says; returns the exit code."""
    options = _arguments()
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
