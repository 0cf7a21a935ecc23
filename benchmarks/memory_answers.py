# SPDX-License-Identifier: Apache-2.0
"""How often a memory is right about a drive whose truth is known, from captions alone: when a thing
was last seen, where the robot was then, how often it appeared, and what there was in a minute.

A robot walks about for some hours and meets a random held-out scene every four seconds. Captions
are the small model's, or, with `--captions truth`, perfect ones, which shows what the memory itself
gets wrong. Each question is asked at moments spread over the drive, about all that lies before.

    python benchmarks/memory_answers.py --hours 2 --captions truth
    python benchmarks/memory_answers.py --hours 0.25 --sheet found.png
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_table import print_table
from memory_recall import walk
from PIL import Image as PillowImage

from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.offline import CAMERA, OfflineRunner, offline, with_model
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.memory.embedder import included_embedder
from penguin_ros.memory.entry import Entry, Hit, Kind, NewEntry, Pose
from penguin_ros.memory.export import hits_of
from penguin_ros.memory.filter import Filter, Interval
from penguin_ros.memory.store import Store
from penguin_ros.settings import with_values
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.clips import HELD_OUT, SimulatedClip, make_clip
from penguin_ros.simulation.random_captions import NAMES
from penguin_ros.simulation.world import World

START_NS = 1_780_000_000 * NANOSECONDS
PERIOD_NS = 4 * NANOSECONDS
FRAMES, FPS = 8, 2.0
FIRST_SEED = 50_000
MOMENTS = 20
MINUTE_NS = 60 * NANOSECONDS
NEAR_M = 1.0


@dataclass(frozen=True)
class Seen:
    """What truly was in a clip, when, and where the robot was."""

    start_ns: int
    end_ns: int
    names: frozenset[tuple[str, str]]
    pose: Pose


def drive(clips: int, captioned: Callable[[SimulatedClip, int], str], store: Store) -> list[Seen]:
    """Drives through the scenes and remembers their captions; returns the truth."""
    chance, truth = random.Random(3), []
    with World() as world:
        for number, pose in zip(range(clips), walk(chance), strict=False):
            clip = make_clip(world, HELD_OUT[FIRST_SEED + number], 3, FRAMES, FPS)
            start = START_NS + number * PERIOD_NS
            end = start + int(clip.stamps[-1] * NANOSECONDS)
            names = frozenset(sight.name for sight in clip.truth.sights)
            truth.append(Seen(start, end, names, pose))
            entry = NewEntry(
                Kind.CAPTION, '/penguin', CAMERA, start, end, captioned(clip, start), pose=pose,
                picture=_jpeg(clip), picture_ns=end,
            )  # fmt: skip
            store.add(entry, is_patient=True)
    store.flush()
    return truth


def _jpeg(clip: SimulatedClip) -> bytes:
    stream = io.BytesIO()
    PillowImage.fromarray(clip.frames[-1]).save(stream, 'JPEG', quality=85)
    return stream.getvalue()


def by_model(runner: OfflineRunner) -> Callable[[SimulatedClip, int], str]:
    """Returns what asks the model for the caption of a clip."""

    def captioned(clip: SimulatedClip, start_ns: int) -> str:
        frames = [
            Frame(start_ns + round(stamp * NANOSECONDS), image, CAMERA)
            for stamp, image in zip(clip.stamps, clip.frames, strict=True)
        ]
        answer = runner.caption(frames)
        if answer.error is not None:
            raise answer.error
        return answer.text

    return captioned


def mentions(store: Store, name: tuple[str, str], until_ns: int) -> Iterator[Entry]:
    """Yields the entries that mention a thing, the newest first."""
    asked = Filter(
        f'"{name[0]} {name[1]}"',
        interval=Interval(START_NS, until_ns),
        is_newest_first=True,
        limit=1000,
    )
    return (hit.entry for hit in hits_of(store, asked))


def appearances(starts: Sequence[int]) -> int:
    """Returns how many stretches of clips without a gap there are."""
    return sum(later - earlier > PERIOD_NS for earlier, later in pairwise(starts)) + bool(starts)


def scores(store: Store, truth: Sequence[Seen]) -> list[dict[str, object]]:
    """Asks everything at each moment."""
    right = {'last seen': 0, 'where': 0, 'never seen': 0, 'how often': 0, 'what there was': 0}
    of = dict.fromkeys(right, 0)
    for moment in range(1, MOMENTS + 1):
        past = truth[: len(truth) * moment // MOMENTS]
        until = past[-1].end_ns
        for name in NAMES:
            shown = [seen for seen in past if name in seen.names]
            told = list(mentions(store, name, until))
            if not shown:
                of['never seen'] += 1
                right['never seen'] += not told
                continue
            last, found = shown[-1], told[0] if told else None
            of['last seen'] += 1
            of['where'] += 1
            of['how often'] += 1
            if found and abs(found.end_ns - last.end_ns) <= PERIOD_NS:
                right['last seen'] += 1
            if found and found.pose:
                near = abs(complex(found.pose.x - last.pose.x, found.pose.y - last.pose.y))
                right['where'] += near <= NEAR_M
            right['how often'] += appearances([seen.start_ns for seen in shown]) == appearances(
                sorted(entry.start_ns for entry in told)
            )
        of['what there was'] += 1
        right['what there was'] += _is_minute_right(store, past)
    return [
        {
            'question': name,
            'right': f'{right[name] / of[name]:.1%}' if of[name] else '-',
            'of': count,
        }
        for name, count in of.items()
    ]


def _is_minute_right(store: Store, past: Sequence[Seen]) -> bool:
    """Returns whether exactly what was there in the last minute is told."""
    begin = past[-1].end_ns - MINUTE_NS
    asked = Filter(interval=Interval(begin, past[-1].end_ns), limit=1000)
    texts = ' '.join(hit.entry.text for hit in hits_of(store, asked))
    told = {name for name in NAMES if ' '.join(name) in texts}
    return told == set().union(*(seen.names for seen in past if seen.end_ns >= begin))


def draw(store: Store, path: Path) -> None:
    """Draws what the memory finds of one thing."""
    from penguin_ros.cli.past_times import shown_time
    from penguin_ros.demo.recall_sheet import draw_sheet

    hits: Sequence[Hit] = store.recall(Filter('"red box"', limit=12, is_newest_first=True)).hits
    draw_sheet(store, hits, 'red box', shown_time, path)


def main() -> None:
    """Drives, asks and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hours', type=float, default=0.25)
    parser.add_argument('--captions', choices=('model', 'truth'), default='model')
    parser.add_argument('--sheet', type=Path)
    asked = parser.parse_args()
    clips = max(MOMENTS, int(asked.hours * 3600 * NANOSECONDS) // PERIOD_NS)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        store.use_embedder(included_embedder())
        if asked.captions == 'truth':
            truth = drive(clips, lambda clip, _: clip.caption, store)
        else:
            config = with_values(
                PenguinConfig(),
                {
                    'model.checkpoint': str(shipped_model()),
                    'clip.seconds': FRAMES / FPS,
                    'clip.fps': FPS,
                    'buffer.seconds': 60.0,
                },
            )
            with OfflineRunner(with_model(offline(config), 'captions need', '')) as runner:
                truth = drive(clips, by_model(runner), store)
        print(f'{clips} clips, captions: {asked.captions}')
        print_table(scores(store, truth))
        if asked.sheet:
            draw(store, asked.sheet)


if __name__ == '__main__':
    main()
