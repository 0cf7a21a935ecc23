# SPDX-License-Identifier: Apache-2.0
"""How fast recordings are captioned by engines on Ray, and what writing each caption once costs.

    python benchmarks/cluster_index.py [--clips 200] [--workers 1 2]
    python benchmarks/cluster_index.py --reading 30     # reading on against opening for each span

It makes recordings, captions them in this process as `penguin index` does without a cluster, then
with a cluster on this machine. Needs Ray, and room for an engine in each worker.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from markdown_table import print_table

from penguin_ros.cluster.caption_sinks import LinesSink
from penguin_ros.cluster.cluster_index import ClusterIndex, Progress
from penguin_ros.cluster.ray_crew import LOCAL, RayCrew, connect
from penguin_ros.cluster.span_captioner import SpanCaptioner
from penguin_ros.cluster.spans import SPAN_CLIPS, ClipCaption, RecordingPlace, Span
from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.offline import ANY_LENGTH, offline
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS
from penguin_ros.media.recordings import open_recording
from penguin_ros.settings import with_values
from penguin_ros.shipped import MODEL

CLIP_SECONDS, FPS, SIZE = 4, 10, (320, 192)


def film(path: Path, clips: int, seed: int) -> None:
    """A disc that moves over noise that stands still."""
    random = np.random.default_rng(seed)
    ground = random.integers(60, 120, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    ground = ground.repeat(8, 0).repeat(8, 1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), FPS, SIZE)
    for number in range(clips * CLIP_SECONDS * FPS):
        image = ground.copy()
        cv2.circle(image, (20 + 3 * number % 280, 96), 24, (20, 20, 200), -1)
        writer.write(image)
    writer.release()


class TimedSink(LinesSink):
    """Counts the seconds that writing takes."""

    seconds = 0.0

    def add(self, place: RecordingPlace, origin_ns: int, caption: ClipCaption) -> None:
        self._timed(lambda: super(TimedSink, self).add(place, origin_ns, caption))

    def flush(self) -> None:
        self._timed(super().flush)

    def _timed(self, call: Callable[[], None]) -> None:
        start = time.perf_counter()
        call()
        self.seconds += time.perf_counter() - start


def settings() -> PenguinConfig:
    values = {'model.checkpoint': MODEL, 'model.threads': 1, 'clip.seconds': float(CLIP_SECONDS)}
    config = with_values(offline(ANY_LENGTH), values)
    return dataclasses.replace(config, model=with_bundle(config.model))


def engine_seconds() -> float:
    """CPU seconds of all actors with an engine on this machine."""
    total = 0
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            if (stat.parent / 'cmdline').read_bytes().startswith(b'ray::SpanCaptioner'):
                fields = stat.read_text().rpartition(')')[2].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return total / os.sysconf('SC_CLK_TCK')


def in_process(
    config: PenguinConfig, places: list[RecordingPlace], clips: int
) -> dict[str, object]:
    captioner = SpanCaptioner(config, has_pictures=False)
    first = captioner.caption(Span(places[0], captioner.describe(places[0]).origin_ns, 0, 1))
    assert len(first.captions) == 1
    start, used = time.perf_counter(), -time.process_time()
    for place in places:
        origin_ns = captioner.describe(place).origin_ns
        assert len(captioner.caption(Span(place, origin_ns, 0, clips)).captions) == clips
    rate = clips * len(places) / (time.perf_counter() - start)
    used += time.process_time()
    captioner.close()
    return {
        'engines': 'one, without Ray',
        'clips per second': rate,
        'CPU of engines, ms a clip': 1000 * used / clips / len(places),
        'writing, ms a clip': '–',
    }


def on_ray(
    config: PenguinConfig, places: list[RecordingPlace], folder: Path, workers: int
) -> dict[str, object]:
    """The time counts from a quarter of the clips on, when all engines are loaded."""
    ray = connect(LOCAL)
    crew = RayCrew(ray, config, False, workers, cpus=0.5)
    times: list[tuple[float, int, float]] = []

    def note(progress: Progress) -> None:
        if not times or times[-1][1] != progress.done:
            times.append((time.perf_counter(), progress.done, engine_seconds()))

    with TimedSink(folder / f'{workers}.jsonl') as sink:
        ClusterIndex(crew, sink, CLIP_SECONDS * NANOSECONDS, note).run(places)
        begun = next(index for index, noted in enumerate(times) if noted[1] >= times[-1][1] / 4)
        (start, first, before), (end, last, after) = times[begun], times[-1]
        written = 1000 * sink.seconds / last
    crew.close()
    return {
        'engines': f'{workers} on Ray',
        'clips per second': (last - first) / (end - start),
        'CPU of engines, ms a clip': 1000 * (after - before) / (last - first),
        'writing, ms a clip': written,
    }


def reading(path: Path, is_kept: bool) -> dict[str, object]:
    """Reads the frames of all spans of a recording, without any engine."""
    start, count = time.process_time(), 0
    recording = open_recording(path)
    span_ns = SPAN_CLIPS * CLIP_SECONDS * NANOSECONDS
    for begin_ns in range(0, recording.duration_ns, span_ns):
        recording = recording if is_kept else open_recording(path)
        count += sum(1 for _ in recording.frames(2.0, begin_ns, begin_ns + span_ns))
    return {
        'the recording': 'stays open' if is_kept else 'is opened for each span',
        'frames': count,
        'CPU [s]': time.process_time() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=int, default=200, help='clips of each of two recordings')
    parser.add_argument('--workers', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--reading', type=int, metavar='MINUTES', help='nothing but reading')
    given = parser.parse_args()
    config = settings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.reading:
            film(folder / 'day.avi', given.reading * 60 // CLIP_SECONDS, 0)
            return print_table([reading(folder / 'day.avi', kept) for kept in (True, False)])
        places = []
        for number in range(2):
            path = folder / f'day{number}.avi'
            film(path, given.clips, number)
            places.append(RecordingPlace(str(path), path.name, 'recording'))
        rows = [in_process(config, places, given.clips)]
        rows += [on_ray(config, places, folder, workers) for workers in given.workers]
    print_table(rows)


if __name__ == '__main__':
    main()
