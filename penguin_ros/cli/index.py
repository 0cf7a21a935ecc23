# SPDX-License-Identifier: Apache-2.0
"""`penguin index`: fills a memory from recordings, so that they can be searched; needs no ROS."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import MODEL_OPTIONS, add_setting_options, config_from
from penguin_ros.console import can_draw, clock, print_line, progress_bar, status_line
from penguin_ros.text import counted

if TYPE_CHECKING:
    from penguin_ros.config import PenguinConfig
    from penguin_ros.evaluation.offline import OfflineRunner
    from penguin_ros.media.recording import Recording
    from penguin_ros.memory.store import Store

EPILOG = """examples:
  penguin index monday/ tuesday/ --store ~/memory --checkpoint tencent/Penguin-VL-2B
  penguin recall "open door" --store ~/memory

Interrupted, it goes on where it was when the same is typed again: each clip is remembered exactly
once. Pictures of people are stored only with --pictures.

With --ray the recordings are captioned by engines on a cluster, one for each GPU or CPU; package,
model and recordings lie at the same paths on its machines. --ray local: on this machine.
  ray start --head                                     # on the first machine, then what it says
  penguin index /data/*/ --out captions.parquet --ray auto --bundle /data/penguin_2b"""

SECONDS_BETWEEN_LINES = 30.0

Taken = tuple[Path, int, int]
"""A recording that was indexed, with its first and last time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('sources', type=Path, nargs='+', help='rosbag2 folders, bags or videos')
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument('--store', type=Path, metavar='DIR', help='the memory')
    target.add_argument(
        '--out', type=Path, metavar='FILE', help='with --ray: a .jsonl or .parquet file instead'
    )
    parser.add_argument('--ray', metavar='ADDRESS', help='a Ray cluster: auto, HOST:PORT, or local')
    parser.add_argument(
        '--workers', type=int, default=0, metavar='N', help='engines on the cluster (default: all)'
    )
    parser.add_argument('--topic', default='', help='image topic of bags that have several')
    parser.add_argument('--pictures', action='store_true', help='a picture with each caption')
    parser.add_argument('--words', action='store_true', help='no vectors, so no search by meaning')
    add_setting_options(
        parser,
        {
            **MODEL_OPTIONS,
            '--prompt': 'caption.prompt',
            '--clip-seconds': 'clip.seconds',
            '--fps': 'clip.fps',
            '--max-tokens': 'caption.max_tokens',
        },
    )


def run(arguments: argparse.Namespace) -> int:
    """Indexes all recordings; exit code 1 when a clip could not be captioned or images are
    missing.
    """
    from penguin_ros.errors import SettingError
    from penguin_ros.evaluation.offline import ANY_LENGTH, OfflineRunner, offline, with_model
    from penguin_ros.evaluation.recording_index import use_meaning
    from penguin_ros.memory.store import Store

    if arguments.out and not arguments.ray:
        raise SettingError('--out needs --ray', 'without a cluster captions go into a memory')
    config = with_model(
        offline(config_from(arguments, ANY_LENGTH)),
        'captions need',
        'penguin index BAG --store DIR --checkpoint DIR_OR_HUB_ID',
    )
    if arguments.ray:
        from penguin_ros.cli.index_on_cluster import index_on_cluster

        return index_on_cluster(arguments, config)
    is_whole = True
    with Store.open(arguments.store) as store:
        if store.stats().note:
            status_line(store.stats().note)
        if not arguments.words:
            use_meaning(store, status_line)
        with OfflineRunner(config) as runner:
            taken: list[Taken] = []
            for source in arguments.sources:
                is_whole &= _index(arguments, config, store, runner, source, taken)
        is_whole &= not store.stats().last_error
        if store.stats().last_error:
            status_line(store.stats().last_error)
    return exit_codes.DONE if is_whole else exit_codes.FAILED


def _index(
    arguments: argparse.Namespace,
    config: PenguinConfig,
    store: Store,
    runner: OfflineRunner,
    source: Path,
    taken: list[Taken],
) -> bool:
    from penguin_ros.evaluation.recording_index import Source, index_recording
    from penguin_ros.media.recordings import open_recording

    recording = open_recording(source, arguments.topic)
    double = _double(source, recording, taken)
    if double is not None:
        status_line(
            f'{source} left out: {double} has the same name and the same times, and captions are '
            'kept by these. Give one of them another name'
        )
        return False
    what = Source(source.resolve().name, arguments.topic or 'recording', arguments.pictures)
    with _progress(source.name) as progress:
        done = index_recording(runner, config, store, what, recording, progress)
    for line in recording.account.lines():
        status_line(line)
    failed = f', {counted(done.failed, "clip")} could not be captioned' if done.failed else ''
    print_line(
        f'{source}: {counted(done.captioned, "clip")} captioned, {done.known} known before{failed}'
    )
    return not done.failed and (done.captioned == 0 or recording.account.is_seen_to_the_end)


def _double(source: Path, recording: Recording, taken: list[Taken]) -> Path | None:
    """Returns another recording of this call that would be taken for this one, and notes this."""
    path = source.resolve()
    begin_ns, end_ns = recording.origin_ns, recording.origin_ns + max(1, recording.duration_ns)
    for other, other_begin_ns, other_end_ns in taken:
        is_double = other != path and other.name == path.name
        if is_double and begin_ns < other_end_ns and other_begin_ns < end_ns:
            return other
    taken.append((path, begin_ns, end_ns))
    return None


@contextmanager
def _progress(name: str) -> Iterator[Callable[[float, float, float], None]]:
    """Yields what shows progress: a bar on a terminal, else a line now and then."""
    import sys

    shown = time.monotonic()

    def tell(at_s: float, total_s: float, left_s: float) -> None:
        nonlocal shown
        if can_draw(sys.stderr):
            show(100 * at_s / max(total_s, 1e-9), f'{clock(at_s)}, {clock(left_s)} left')
        elif time.monotonic() - shown > SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            status_line(f'{name}: {clock(at_s)} of {clock(total_s)}, {clock(left_s)} left')

    with progress_bar(name, 100) as show:
        yield tell
