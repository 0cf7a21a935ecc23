# SPDX-License-Identifier: Apache-2.0
"""Scores captions and answers about worlds that Gazebo Classic draws; scripts/gazebo_test, which
sets Gazebo up, runs it.

For each world a gzserver renders a held-out scene, whose things move as scripted actors. Images,
their stamps and the poses come over Gazebo's own transport; images and /clock go to the penguin
node over topics of ROS 2; what it says is scored.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from gazebo_feed import GazeboFeed
from gazebo_run import TOLERANCE_M, GazeboRun
from gazebo_transport import GazeboUnreachable
from gazebo_worlds import FIRST, moving_scenes

from penguin_ros.cli import exit_codes
from penguin_ros.console import print_error, print_line, status_line
from penguin_ros.demo.nodes import DemoSettings, model_bundle
from penguin_ros.demo.row import ShownCaption, print_row
from penguin_ros.demo.sheet import Sheet, write_sheet
from penguin_ros.errors import PenguinError
from penguin_ros.evaluation.simulation_model import measured
from penguin_ros.ros.client.session import session
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.shipped import shipped_model, simulation_parameters
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.scoring import Share, pooled, score_answer, wilson
from penguin_ros.simulation.world import World

NODE = '/penguin'
WANTED = 0.80
ATTEMPTS = 2  # for a world whose server fails
READY_S = 60.0


class WorldError(PenguinError):
    """Gazebo's world is not the scene."""


class GazeboScore:
    """Plays worlds one after the other; the next one's server starts while questions about the
    present one are answered.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        scenes: list[Scene],
        feed: GazeboFeed,
        node: NodeProcess,
    ) -> None:
        self.shown: list[ShownCaption] = []
        self.answers: list[dict[str, Any]] = []
        self.errors_m: list[float] = []
        self.unreported = 0
        self.feed = feed
        self._arguments = arguments
        self._scenes = scenes
        self._node = node

    def run(self) -> None:
        """Plays all worlds."""
        following = self._started(0)
        try:
            for number in range(len(self._scenes)):
                run, following = following, None
                truth = self._played(run, number)
                following = self._started(number + 1) if number + 1 < len(self._scenes) else None
                shown = self.feed.described(truth, self._node.check)
                self.shown.append(shown)
                print_row(shown)
                for item in truth.questions[: self._arguments.questions]:
                    answer = self.feed.ask(item.question, truth)
                    self.answers.append(
                        {
                            'scene': number,
                            **vars(item),
                            'given': answer.text,
                            'is_right': score_answer(answer.text, item.answer),
                        }
                    )
                self.feed.pause()
        finally:
            if following is not None:
                following.close()

    def _started(self, number: int) -> GazeboRun:
        return GazeboRun(self._arguments.tree, self._scenes[number], number, self._arguments.out)

    def _played(self, run: GazeboRun | None, number: int) -> Any:
        """Returns the truth of a world that was played; a server that fails is tried again."""
        for attempt in range(ATTEMPTS):
            run = run or self._started(number)
            try:
                truth = self.feed.play(run, number)
                self.errors_m.append(run.largest_error_m())
                self.unreported += len(run.unreported)
                break
            except GazeboUnreachable as error:
                if attempt + 1 == ATTEMPTS:
                    raise
                status_line(f'scene {number + 1} once more: {error}')
                self.feed.pause()
            finally:
                run.close()
                run = None
        if self.errors_m[-1] > TOLERANCE_M:
            raise WorldError(
                f'something of scene {number + 1} was {self.errors_m[-1]:.3f} m from its place',
                "by Gazebo's own poses",
                f'Look at {self._arguments.tree}',
            )
        return truth

    def shares(self) -> dict[str, Share]:
        """Returns what was right, with 95 % intervals; those of captions resample scenes."""
        scores = [shown.score for shown in self.shown]
        right = [score.right for score in scores]
        return {
            'caption_precision': pooled(right, [score.claimed for score in scores]),
            'caption_recall': pooled(right, [score.wanted for score in scores]),
            'answers': wilson(
                sum(answer['is_right'] for answer in self.answers), len(self.answers)
            ),
        }


def main() -> int:
    """Runs the tool; its help lists the exit codes."""
    arguments = _arguments()
    arguments.tree = arguments.tree.resolve()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # keeps apart from robots and other tests
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        score, seconds = _scored(arguments)
    except PenguinError as error:
        print_error(error)
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    lines = _lines(score, seconds)
    _write(score, lines, arguments)
    for line in lines:
        print_line(line)
    is_reached = all(share.value >= arguments.least for share in score.shares().values())
    verdict = 'reached' if is_reached else 'NOT REACHED'
    print_line(f'{arguments.least:.0%} of each: {verdict}; see {arguments.out}')
    return exit_codes.DONE if is_reached else exit_codes.FAILED


def _lines(score: GazeboScore, seconds: float) -> list[str]:
    lines = [
        f'{name.replace("_", " ")} {share.value:.1%} ({share.right:g} of {share.total:g}; '
        f'95 % interval {share.low:.1%} to {share.high:.1%})'
        for name, share in score.shares().items()
    ]
    lines.append(
        f'{len(score.shown)} worlds drawn by Gazebo Classic in {seconds:.0f} s, nothing further '
        f'than {max(score.errors_m):.3f} m from its place ({score.unreported} poses of things that '
        'stand still came before anybody listened)'
    )
    return lines


def _scored(arguments: argparse.Namespace) -> tuple[GazeboScore, float]:
    checkpoint = shipped_model()
    level = arguments.level or measured(checkpoint).level
    with ExitStack() as stack:
        world = stack.enter_context(World())
        status_line(f'choosing {arguments.worlds} held-out scenes of level {level}')
        scenes = list(islice(moving_scenes(world, level, arguments.first), arguments.worlds))
        settings = DemoSettings(0.0, bundle=arguments.bundle, checkpoint=arguments.checkpoint)
        node = stack.enter_context(_node(model_bundle(settings), arguments.out))
        ros = stack.enter_context(session('gazebo_feed'))
        feed = GazeboFeed(ros, NODE, world)
        if not ros.spin_until(feed.is_watched, READY_S):
            node.check()
            raise PenguinError(
                'the node does not look at camera/image', f'waited {READY_S:g} s', f'See {node.log}'
            )
        start = time.monotonic()
        score = GazeboScore(arguments, scenes, feed, node)
        score.run()
        return score, time.monotonic() - start


@contextmanager
def _node(bundle: str, folder: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(
        'penguin_node', folder, {'model.bundle': bundle}, {}, [simulation_parameters()]
    )
    node.start()
    try:
        yield node
    finally:
        node.stop()


def _title(feed: GazeboFeed) -> str:
    evidence = feed.captions[-1].evidence
    model = f'{evidence.model_name} ({evidence.precision}, {evidence.backend})'
    return f'penguin_ros: worlds drawn by Gazebo Classic, described by {model}'


def _write(score: GazeboScore, lines: list[str], arguments: argparse.Namespace) -> None:
    """Writes score.json and contact_sheet.png."""
    record = {
        'shares': {
            name: vars(share) | {'value': share.value} for name, share in score.shares().items()
        },
        'largest_pose_error_m': max(score.errors_m),
        'answers': score.answers,
        'captions': [
            {
                'scene': shown.number,
                'text': shown.text,
                'truth': shown.true_text,
                **vars(shown.score),
            }
            for shown in score.shown
        ],
    }
    (arguments.out / 'score.json').write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + '\n', encoding='utf-8'
    )
    footer = [('' if number else 'in all', line) for number, line in enumerate(lines)]
    write_sheet(
        Sheet(_title(score.feed), score.shown, score.feed.pictures, footer, len(score.shown)),
        arguments.out / 'contact_sheet.png',
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').splitlines()[0],
        epilog='exit codes: 0 reached what is wanted, '
        '1 did not, or the run failed, 130 interrupted',
    )
    parser.add_argument(
        '--tree', type=Path, required=True, metavar='DIR', help='Debian tree with Gazebo Classic'
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='where score, contact sheet and logs go',
    )
    _add_run(parser)
    parser.add_argument('--checkpoint', default='', help=argparse.SUPPRESS)
    return parser.parse_args()


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--worlds', type=int, default=10, metavar='N', help='how many (default: 10)'
    )
    parser.add_argument(
        '--questions',
        type=int,
        default=5,
        metavar='N',
        help='questions for each world (default: 5)',
    )
    parser.add_argument(
        '--level',
        type=int,
        choices=(1, 2, 3),
        help='kind of scenes (default: what the model was measured on)',
    )
    parser.add_argument(
        '--first',
        type=int,
        default=FIRST,
        metavar='N',
        help=f'first of the held-out seeds (default: {FIRST})',
    )
    parser.add_argument(
        '--least',
        type=float,
        default=WANTED,
        help=f'share of right facts and answers (default: {WANTED})',
    )
    parser.add_argument(
        '--bundle',
        default='',
        metavar='DIR',
        help='model to run (default: that of the simulated world)',
    )


if __name__ == '__main__':
    sys.exit(main())
