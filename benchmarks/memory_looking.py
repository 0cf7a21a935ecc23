# SPDX-License-Identifier: Apache-2.0
"""How often "when was it last seen, and where" is answered rightly: from captions alone, and when
the pictures of the newest mentions are looked at again.

Scenes of the simulated world, which no model was trained on, are shown one after the other in
simulated time, while a robot drives a lap between four places. The included model captions each;
the caption goes into a store, with the robot's pose and the newest frame as a JPEG, as memory_node
stores them. Every few scenes it is asked of every kind of thing when it was last seen. Right is the
newest scene at whose end the thing was in the picture, and "never" where there is none; scenes are
further apart than a clip is long. No ROS; what is searched and asked is what the node searches and
asks.

    source scripts/env.sh
    python benchmarks/memory_looking.py --scenes 240 --level 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from penguin_ros.config import PenguinConfig
from penguin_ros.evaluation.offline import OfflineRunner, offline, with_model
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.memory.entry import Entry, Kind, NewEntry, Pose
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store
from penguin_ros.picture_buffer import jpeg_picture
from penguin_ros.recollection.last_seen import Sighting, last_seen, searches_of
from penguin_ros.request import Answer, EncodedImage, Request
from penguin_ros.settings import with_values
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.clips import HELD_OUT, make_clip
from penguin_ros.simulation.scene import COLOURS, SHAPES
from penguin_ros.simulation.world import World

CAMERA = 'recording'
PERIOD_S = 7.5
FRAMES, FPS = 4, 1.0
PLACES = ((0.0, 0.0), (8.0, 0.0), (8.0, 6.0), (0.0, 6.0))
MENTIONS = 200
THINGS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
SETTINGS = {
    'clip.fps': FPS,
    'clip.max_frames': FRAMES,
    'clip.window': 'recent',
    'visual.policy': 'fixed',
    'visual.key_tokens': 24,
    'visual.intermediate_tokens': 24,
}


class Looker(OfflineRunner):
    """Answers about stored pictures, too."""

    def probability(self, jpeg: bytes, stamp_ns: int, question: str) -> float:
        """Returns the probability of yes."""
        answers: SimpleQueue[Answer] = SimpleQueue()
        self._count += 1
        request = Request(
            f'look-{self._count}',
            question,
            images=(EncodedImage(jpeg),),
            image_stamps_ns=(stamp_ns,),
            choices=('yes', 'no'),
        )
        self._pipeline.submit(request, answers.put)
        answer = answers.get()
        if answer.error is not None or answer.chosen is None:
            raise SystemExit(f'the model cannot look: {answer.error}')
        return float(answer.chosen.probabilities[0])


class Remembered:
    """A store that fills with captions of scenes, and what was truly there."""

    def __init__(self, folder: Path, runner: Looker, question: str) -> None:
        self._store = Store.open(folder)
        self._runner = runner
        self._question = question
        self._truth: dict[tuple[str, str], int] = {}
        self._chances: dict[tuple[int, str], float] = {}
        self.looks = 0

    def add(self, clip: Any, number: int) -> None:
        """Captions a scene and stores it."""
        start_s = 10 + number * PERIOD_S
        stamps = [round((start_s + each) * NANOSECONDS) for each in clip.stamps]
        frames = [
            Frame(stamp, image, CAMERA) for stamp, image in zip(stamps, clip.frames, strict=True)
        ]
        text = self._runner.caption(frames).text
        picture = jpeg_picture(stamps[-1], clip.frames[-1], 448, 80)
        place = PLACES[number % len(PLACES)]
        pose = Pose('map', *place, stamp_ns=stamps[-1])
        self._store.add(
            NewEntry(
                Kind.CAPTION, '/penguin', 'front', stamps[0], stamps[-1], text, pose=pose,
                picture=picture.jpeg, picture_ns=stamps[-1],
            )
        )  # fmt: skip
        for sight in clip.truth.present:
            self._truth[sight.name] = stamps[-1]

    def verdict(self, thing: tuple[str, str], is_looking: bool) -> str:
        """Returns what the answer to when and where is: right, another time, missed, invented."""
        found = self._sighting(' '.join(thing), is_looking)
        wanted_ns = self._truth.get(thing)
        if found.entry is None:
            return 'right: never seen' if wanted_ns is None else 'missed'
        if wanted_ns is None:
            return 'invented'
        if found.entry.end_ns == wanted_ns:
            return 'right'
        return 'too late' if found.entry.end_ns > wanted_ns else 'too early'

    def flush(self) -> None:
        """Waits until all is stored."""
        self._store.flush()

    def _sighting(self, name: str, is_looking: bool) -> Sighting:
        mentions: list[Entry] = []
        for words in searches_of(name):
            asked = Filter(words=words, kinds=(Kind.CAPTION,), is_newest_first=True, limit=MENTIONS)
            mentions = [hit.entry for hit in self._store.recall(asked).hits]
            if mentions:
                break
        search = last_seen(mentions, 0.5, 8, is_looking)
        try:
            entry = next(search)
            while True:
                entry = search.send(self._chance(entry, name))
        except StopIteration as end:
            sighting: Sighting = end.value
            return sighting

    def _chance(self, entry: Entry, name: str) -> float:
        key = entry.id, name
        if key not in self._chances:
            self.looks += 1
            question = self._question.replace('{thing}', name)
            self._chances[key] = self._runner.probability(
                self._store.picture(entry), entry.picture_ns, question
            )
        return self._chances[key]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--scenes', type=int, default=240)
    parser.add_argument('--level', type=int, default=3, choices=(1, 2, 3))
    parser.add_argument('--skip', type=int, default=5000, help='of the held-out scenes')
    parser.add_argument('--every', type=int, default=30, metavar='N', help='ask after N scenes')
    parser.add_argument('--question', default='Is there a {thing}?')
    parser.add_argument('--checkpoint', default=str(shipped_model() or ''))
    parser.add_argument('--json', type=Path)
    arguments = parser.parse_args()
    config = with_values(PenguinConfig(), {**SETTINGS, 'model.checkpoint': arguments.checkpoint})
    config = with_model(offline(config), 'looking again needs', 'Give --checkpoint DIR')
    config = with_values(config, {'clip.seconds': FRAMES / FPS})
    verdicts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    begun = time.monotonic()
    with World(168, 112) as world, Looker(config) as runner:
        memory = Remembered(Path(tempfile.mkdtemp()), runner, arguments.question)
        seeds = HELD_OUT[arguments.skip : arguments.skip + arguments.scenes]
        for number, seed in enumerate(seeds):
            memory.add(make_clip(world, seed, arguments.level, FRAMES, FPS, 0), number)
            if (number + 1) % arguments.every:
                continue
            memory.flush()
            for is_looking, counts in verdicts.items():
                counts.update(memory.verdict(thing, is_looking) for thing in THINGS)
            print(number + 1, *(right_share(each) for each in verdicts.values()), flush=True)
    found = {
        'scenes': arguments.scenes,
        'level': arguments.level,
        'simulated minutes': round(arguments.scenes * PERIOD_S / 60),
        'questions': sum(verdicts[True].values()),
        'looks': memory.looks,
        'right from captions alone [%]': right_share(verdicts[False]),
        'right after looking again [%]': right_share(verdicts[True]),
        'captions alone': dict(verdicts[False]),
        'looking again': dict(verdicts[True]),
        'seconds': round(time.monotonic() - begun),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    for name, value in found.items():
        print(f'{name:32} {value}')


def right_share(counts: Counter[str]) -> float:
    """Returns the percentage of right answers."""
    right = sum(count for verdict, count in counts.items() if verdict.startswith('right'))
    return round(100 * right / max(1, sum(counts.values())), 1)


if __name__ == '__main__':
    main()
