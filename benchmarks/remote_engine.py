# SPDX-License-Identifier: Apache-2.0
"""What asking a served engine costs against the same engine in the process: time to the first token
and to the whole answer, processor time on both sides, bytes on the wire; and whether the answers
are the same.

`penguin serve` runs the bundle on this machine, and two pipelines get the same frames of simulated
scenes: one has the bundle itself, the other asks the server over the loopback. Each question is
asked of both, in turns. A question about `cold` frames is about a clip of eight that nobody has
seen, one about a `warm` clip shows one new frame.

    python benchmarks/remote_engine.py /tmp/sim_bundle --scenes 6
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from markdown_table import print_table

from penguin_ros.benchmark.machine import machine
from penguin_ros.config import PenguinConfig
from penguin_ros.demo.served_engine import ServedEngine
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.pipeline import Pipeline
from penguin_ros.request import Answer, Request
from penguin_ros.settings import with_values
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.world import World

QUESTION = 'Describe what is happening in this video in one or two sentences.'
CLIP_FRAMES, FPS, WARM = 8, 2.0, 8
START_S, GAP_S = 1_000.0, 120.0
DEADLINE_S = 120.0


@dataclass
class Sample:
    """What one question took, in seconds and bytes."""

    first: float
    whole: float
    client_cpu: float
    server_cpu: float
    sent: int
    text: str


@dataclass
class Side:
    """One pipeline with its samples by case."""

    name: str
    pipeline: Pipeline
    server: psutil.Process | None
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def ask(self, case: str) -> None:
        """Asks, waits, and keeps what it took."""
        ended = threading.Event()
        answers: list[Answer] = []

        def take(answer: Answer) -> None:
            answers.append(answer)
            ended.set()

        begin, own, there = time.perf_counter(), time.process_time(), self._server_cpu()
        sent = self._sent()
        self.pipeline.submit(Request('', QUESTION), take)
        assert ended.wait(DEADLINE_S), 'no answer'
        answer = answers[0]
        if answer.error is not None:
            raise answer.error
        sample = Sample(
            answer.evidence.first_token_ns / 1e9,
            time.perf_counter() - begin,
            time.process_time() - own,
            self._server_cpu() - there,
            self._sent() - sent,
            answer.text,
        )
        self.samples.setdefault(case, []).append(sample)

    def _server_cpu(self) -> float:
        if self.server is None:
            return 0.0
        used = self.server.cpu_times()
        return float(used.user + used.system)

    def _sent(self) -> int:
        remote = self.pipeline.status().remote
        return remote.endpoints[0].bytes_sent if remote is not None else 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, help='built by penguin build')
    parser.add_argument('--scenes', type=int, default=6, help='(default: %(default)s)')
    parser.add_argument('--size', default='640x360', help='of the frames (default: %(default)s)')
    parser.add_argument('--quality', type=int, default=90, help='JPEG (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='(default: %(default)s)')
    parser.add_argument('--json', action='store_true')
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    width, height = map(int, arguments.size.split('x'))
    with tempfile.TemporaryDirectory() as folder, World(width, height) as world:
        same = ('generation.draft_tokens=0', f'model.threads={arguments.threads}')
        options = [word for setting in same for word in ('--set', setting)]
        server = ServedEngine(str(arguments.bundle), Path(folder), options)
        server.start()
        try:
            while not server.is_ready():
                time.sleep(0.2)
            sides = opened(arguments, server)
            clock = Clock()
            run(arguments.scenes, world, sides, clock)
            for side in sides:
                side.pipeline.close()
        finally:
            server.stop()
    report(sides, width * height * 3, arguments.json)


class Clock:
    """Camera time."""

    now_ns = round(START_S * NANOSECONDS)


def opened(arguments: argparse.Namespace, server: ServedEngine) -> list[Side]:
    """Both pipelines; the remote one has no model of its own."""
    base = {
        'clip.window': 'sliding',
        'clip.precompute': 'off',
        'clip.fps': FPS,
        'clip.seconds': CLIP_FRAMES / FPS,
        'question.max_tokens': 48,
        'generation.draft_tokens': 0,
        'model.threads': arguments.threads,
    }
    local = {'model.bundle': str(arguments.bundle)}
    remote = {
        'remote.endpoints': f'served={server.url}',
        'remote.jpeg_quality': arguments.quality,
        'question.engine': 'remote',
        'caption.engine': 'remote',
    }
    assert server.pid is not None
    sides = []
    for name, values, process in (
        ('in the process', local, None),
        ('served', remote, psutil.Process(server.pid)),
    ):
        config = with_values(PenguinConfig(), {**base, **values})
        pipeline = Pipeline(config, ['camera'], now_ns=lambda: Clock.now_ns)
        pipeline.open()
        pipeline.activate()
        sides.append(Side(name, pipeline, process))
    return sides


def run(scenes: int, world: World, sides: list[Side], clock: Clock) -> None:
    """Asks about each scene: cold, then once per new frame. The first scene warms up."""
    for number, seed in enumerate(HELD_OUT[: scenes + 1]):
        world.load(random_scene(seed, 3, (CLIP_FRAMES + WARM) / FPS))
        start_ns = Clock.now_ns + round(GAP_S * NANOSECONDS)
        for index in range(CLIP_FRAMES + WARM):
            Clock.now_ns = start_ns + round(index / FPS * NANOSECONDS)
            image = np.ascontiguousarray(world.render(index / FPS))
            for side in sides:
                side.pipeline.add_frame(Frame(Clock.now_ns, image, 'camera'))
            if index < CLIP_FRAMES - 1:
                continue
            case = 'cold' if index == CLIP_FRAMES - 1 else 'warm'
            for side in sides[:: 1 if index % 2 else -1]:
                side.ask(case)
        if number == 0:
            for side in sides:
                side.samples.clear()


def report(sides: list[Side], frame_bytes: int, as_json: bool) -> None:
    """Prints a row per side and case."""
    found = [_row(sides, side, case) for case in ('cold', 'warm') for side in sides]
    if as_json:
        print(json.dumps({'machine': machine(2), 'frame_bytes': frame_bytes, 'rows': found}))
        return
    print(machine(2))
    print(f'raw frames: {frame_bytes / 1e3:.0f} kB each, {CLIP_FRAMES} per clip')
    print_table(found)


def _row(sides: list[Side], side: Side, case: str) -> dict[str, object]:
    samples = side.samples[case]
    texts = [[sample.text for sample in each.samples[case]] for each in sides]
    first, whole = [each.first for each in samples], [each.whole for each in samples]
    return {
        'case': case,
        'engine': side.name,
        'questions': len(samples),
        'first token p50 [ms]': _part(first, 50) * 1e3,
        'p95 [ms]': _part(first, 95) * 1e3,
        'answer p50 [ms]': _part(whole, 50) * 1e3,
        'answer p95 [ms]': _part(whole, 95) * 1e3,
        'CPU here [ms]': statistics.fmean(each.client_cpu for each in samples) * 1e3,
        'CPU of the server [ms]': statistics.fmean(each.server_cpu for each in samples) * 1e3,
        'sent [kB]': statistics.fmean(each.sent for each in samples) / 1e3,
        'same text': sum(one == other for one, other in zip(*texts, strict=True)),
    }


def _part(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent))


if __name__ == '__main__':
    main()
