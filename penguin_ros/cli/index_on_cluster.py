# SPDX-License-Identifier: Apache-2.0
"""`penguin index --ray`: recordings captioned by engines on a cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from penguin_ros.cli import exit_codes
from penguin_ros.cluster.caption_sinks import CaptionSink, StoreSink, file_sink
from penguin_ros.cluster.cluster_index import ClusterIndex, Progress, RecordingReport
from penguin_ros.cluster.ray_crew import RayCrew, connect
from penguin_ros.cluster.spans import RecordingPlace
from penguin_ros.config import PenguinConfig
from penguin_ros.console import can_draw, clock, print_line, progress_bar, status_line
from penguin_ros.evaluation.recording_index import use_meaning
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.store import Store
from penguin_ros.text import counted

SECONDS_BETWEEN_LINES = 30.0


def index_on_cluster(arguments: argparse.Namespace, config: PenguinConfig) -> int:
    """Indexes all recordings; exit code 1 when a clip could not be captioned or a recording could
    not be read, which is named.
    """
    ray = connect(arguments.ray)
    places = [
        RecordingPlace(
            str(source.resolve()),
            source.resolve().name,
            arguments.topic or 'recording',
            arguments.topic,
        )
        for source in arguments.sources
    ]
    crew = RayCrew(ray, config, arguments.pictures, arguments.workers)
    with closing(crew), _sink(arguments) as sink, _progress() as progress:
        status_line(f'{counted(crew.size, "engine")} on {counted(len(ray.nodes()), "machine")}')
        clip_ns = round(config.clip.seconds * NANOSECONDS)
        index = ClusterIndex(crew, sink, clip_ns, progress)
        reports = index.run(places)
        for captioner, why in index.useless.items():
            status_line(f'the engine {captioner[:8]} could not begin and was left out: {why}')
    return _told(reports)


def _sink(arguments: argparse.Namespace) -> CaptionSink:
    if arguments.out is not None:
        return file_sink(Path(arguments.out))
    store = Store.open(arguments.store)
    if store.stats().note:
        status_line(store.stats().note)
    if not arguments.words:
        use_meaning(store, status_line)
    return StoreSink(store, arguments.pictures)


def _told(reports: Mapping[RecordingPlace, RecordingReport]) -> int:
    """Prints what became of each recording; returns the exit code."""
    for place, report in reports.items():
        failed = (
            f', {counted(report.failed, "clip")} could not be captioned' if report.failed else ''
        )
        print_line(
            f'{place.path}: {counted(report.captioned, "clip")} captioned, {report.known} known'
            f' before{failed}'
        )
        for error in report.errors:
            status_line(f'{place.path}: {error}')
    is_whole = not any(report.failed or report.errors for report in reports.values())
    return exit_codes.DONE if is_whole else exit_codes.FAILED


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Yields what shows progress: a bar on a terminal, else a line now and then."""
    shown = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal shown
        left = 'unknown time' if progress.left_s is None else clock(progress.left_s)
        lost = f', {counted(progress.lost, "engine")} lost' if progress.lost else ''
        if can_draw(sys.stderr):
            show(100 * progress.done / max(progress.total, 1), f'{left} left{lost}')
        elif time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            status_line(f'{progress.done} of {progress.total} clips, {left} left{lost}')

    with progress_bar('indexing', 100) as show:
        yield tell
