# SPDX-License-Identifier: Apache-2.0
"""How fast a memory finds entries, beside grep over JSON lines and a product of all vectors with
numpy; how large it is, how fast it is filled, and what it takes of the machine's memory.

The captions are made by the grammar of the simulated world, one every two seconds, while a robot
walks about in a hall of 40 by 30 metres. What is searched for is drawn by the same grammar; words
are those of one or two things, intervals last from ten minutes to a day, places have a radius from
one to three metres.

    python benchmarks/memory_recall.py --count 1000000 --folder /tmp/memory
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from penguin_ros.ros.process.allocator import return_freed_memory

return_freed_memory()  # as the memory node does, before numpy is imported

import numpy as np
from markdown_table import print_table

from penguin_ros.benchmark.machine import machine
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.embedder import included_embedder, unit
from penguin_ros.memory.entry import Kind, NewEntry, Pose
from penguin_ros.memory.filter import Filter, Interval, Place
from penguin_ros.memory.store import Store
from penguin_ros.simulation.random_captions import NAMES, random_caption

START_NS = 1_780_000_000 * NANOSECONDS
PERIOD_NS = 2 * NANOSECONDS
HALL = 40.0, 30.0
STEP_M = 0.8
MEANINGS = (
    'something red moves to the left', 'an empty room', 'the ball rolls towards the camera',
    'a yellow cone has stopped', 'two objects next to each other', 'something disappeared',
    'a pink thing goes round and round', 'a blue crate', 'nothing is there', 'a black tube',
)  # fmt: skip
BEST = 20


def evidence(number: int) -> dict[str, Any]:
    """What a caption of eight frames brings along, in its true form."""
    end = START_NS + number * PERIOD_NS
    frames = [
        {
            'stamp_ns': end - place * 250_000_000,
            'camera': 'front',
            'frame_id': 'camera_optical_frame',
            'type': 'intermediate' if place % 4 else 'key',
        }
        for place in range(8)
    ]
    return {'frames': frames, 'model_name': 'penguin_sim', 'visual_tokens': 96 + number % 7,
            'generated_tokens': 20 + number % 23, 'decode_ns': 51_234_567 + number * 7919 % 10**7,
            'stop_reason': 'stop_token', 'backend': 'onnxruntime'}  # fmt: skip


def walk(chance: random.Random) -> Iterator[Pose]:
    """Yields the poses of a robot that wanders through the hall."""
    x, y, heading = HALL[0] / 2, HALL[1] / 2, 0.0
    while True:
        heading += chance.gauss(0, 0.4)
        x = min(max(x + STEP_M * math.cos(heading), 0), HALL[0])
        y = min(max(y + STEP_M * math.sin(heading), 0), HALL[1])
        yield Pose('map', x, y, 0.0, 0.0, 0.0, math.sin(heading / 2), math.cos(heading / 2))


def entries(count: int) -> Iterator[NewEntry]:
    """Yields the captions."""
    chance = random.Random(1)
    for number, pose in zip(range(count), walk(chance), strict=False):
        end = START_NS + number * PERIOD_NS
        text = random_caption(chance)
        yield NewEntry(
            Kind.CAPTION,
            '/penguin',
            'front',
            end - PERIOD_NS,
            end,
            text,
            '',
            evidence(number),
            pose,
        )


def fill(folder: Path, count: int) -> None:
    """Writes the store and the JSON lines, and prints how that went."""
    shutil.rmtree(folder, ignore_errors=True)
    store = Store.open(folder / 'store')
    store.use_embedder(included_embedder())
    lines = (folder / 'captions.jsonl').open('w')
    making = start = time.perf_counter()
    spent, before = 0.0, written_bytes()
    for entry in entries(count):
        making = time.perf_counter()
        store.add(entry, is_patient=True)
        spent += time.perf_counter() - making
        pose = [entry.pose.x, entry.pose.y] if entry.pose else None
        record = {'end_ns': entry.end_ns, 'text': entry.text, 'pose': pose}
        lines.write(json.dumps(record | {'evidence': entry.evidence}) + '\n')
    store.flush()
    seconds = time.perf_counter() - start
    lines.close()
    stats = store.stats()
    store.close()
    size = (folder / 'store' / 'memory.db').stat().st_size
    row = {
        'captions': count,
        'per second, with making them': round(count / seconds),
        'bytes per caption': round(size / count),
        'JSON line, bytes': round((folder / 'captions.jsonl').stat().st_size / count),
        'bytes written per caption, JSON too': round((written_bytes() - before) / count),
        'dropped': stats.dropped,
        'errors': sum(stats.errors.values()),
    }
    print_table([row])


def written_bytes() -> int:
    """What this process has had written to disks."""
    facts = dict(line.split(': ') for line in Path('/proc/self/io').read_text().splitlines())
    return int(facts['write_bytes'])


def filters(chance: random.Random, count: int) -> dict[str, Callable[[], Filter]]:
    """Returns what makes a filter of each kind."""

    def words() -> str:
        names = chance.sample(NAMES, chance.choice((1, 1, 2)))
        return ' '.join(f'"{colour} {shape}"' for colour, shape in names)

    def interval() -> Interval:
        length = int(math.exp(chance.uniform(math.log(600), math.log(86400)))) * NANOSECONDS
        end = START_NS + chance.randrange(count) * PERIOD_NS
        return Interval(max(0, end - length), end)

    def place() -> Place:
        point = chance.uniform(0, HALL[0]), chance.uniform(0, HALL[1])
        return Place('map', *point, chance.uniform(1, 3))

    def meaning() -> str:
        return chance.choice((chance.choice(MEANINGS), random_caption(chance)))

    return {
        'words': lambda: Filter(words()),
        'words, newest first': lambda: Filter(words(), is_newest_first=True),
        'time': lambda: Filter(interval=interval()),
        'place': lambda: Filter(place=place()),
        'words + time': lambda: Filter(words(), interval=interval()),
        'words + place': lambda: Filter(words(), place=place()),
        'words + time + place': lambda: Filter(words(), interval=interval(), place=place()),
        'meaning': lambda: Filter(meaning=meaning()),
        'meaning + time + place': lambda: Filter(
            meaning=meaning(), interval=interval(), place=place()
        ),
        'words or meaning': lambda: Filter(words(), meaning(), is_either=True),
    }


def search(folder: Path, count: int, repeats: int) -> None:
    """Prints how long searches take in a process that does nothing else."""
    start = time.perf_counter()
    store = Store.open(folder / 'store')
    opened = time.perf_counter() - start
    columns_bytes = resident()
    embedder = included_embedder()
    store.use_embedder(embedder)
    ready = time.perf_counter() - start
    chance = random.Random(7)
    rows = []
    for name, make in filters(chance, count).items():
        times, spent, found = [], [], 0
        for _ in range(repeats):
            asked = make()
            begin, begin_cpu = time.perf_counter(), time.process_time()
            found += len(store.recall(asked).hits)
            times.append((time.perf_counter() - begin) * 1e3)
            spent.append((time.process_time() - begin_cpu) * 1e3)
        rows.append(
            {
                'search': name,
                'p50 ms': float(np.percentile(times, 50)),
                'p95 ms': float(np.percentile(times, 95)),
                'max ms': max(times),
                'p50 CPU ms': float(np.percentile(spent, 50)),
                'p95 CPU ms': float(np.percentile(spent, 95)),
                'hits': found / repeats,
            }
        )
    print_table(rows)
    print_table(
        [
            {
                'opened, s': opened,
                'meanings ready, s': ready,
                'without meanings, MiB': columns_bytes['RssAnon'],
                **{f'{name}, MiB': value for name, value in resident().items()},
            }
        ]
    )
    store.close()


def resident() -> dict[str, float]:
    """The memory that this process takes, in MiB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    facts = dict(line.split(':', 1) for line in lines)
    names = ('RssAnon', 'VmRSS', 'VmHWM')
    return {name: int(facts[name].split()[0]) / 1024 for name in names}


def compare(folder: Path, count: int, repeats: int) -> None:
    """Prints how long grep and numpy take for the same, and how many of numpy's best are found."""
    embedder = included_embedder()
    chance = random.Random(7)
    store = Store.open(folder / 'store', is_read_only=True)
    store.use_embedder(embedder)
    texts = [entry.text for entry in entries(count)]
    vectors = np.empty((count, embedder.dimensions), np.float32)
    for begin in range(0, count, 10_000):
        vectors[begin : begin + 10_000] = embedder.embed(texts[begin : begin + 10_000])
    vectors = unit(vectors)
    makers = filters(chance, count)
    times: dict[str, list[float]] = {'grep': [], 'all vectors with numpy': []}
    shares = []
    for _ in range(repeats):
        begin_s = time.perf_counter()
        phrase = makers['words']().words.split('"')[1]
        subprocess.run(
            f'grep -F {phrase!r} {folder / "captions.jsonl"} | tail -n {BEST}',
            shell=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        times['grep'].append((time.perf_counter() - begin_s) * 1e3)
        asked = makers['meaning']()
        begin_s = time.perf_counter()
        wanted = embedder.embed([asked.meaning])[0]
        cosines = vectors @ wanted
        best = np.argpartition(cosines, count - BEST)[count - BEST :]
        times['all vectors with numpy'].append((time.perf_counter() - begin_s) * 1e3)
        least = cosines[best].min()
        found = [hit.entry.id - 1 for hit in store.recall(asked).hits]
        # Many captions are equal, so that which of them are the best is a matter of chance.
        shares.append(float(np.mean(cosines[found] >= least - 2e-3)))
    print_table(
        [
            {
                'beside': name,
                'p50 ms': float(np.percentile(values, 50)),
                'p95 ms': float(np.percentile(values, 95)),
            }
            for name, values in times.items()
        ]
    )
    print(
        f'of the {BEST} best by all vectors, {np.mean(shares):.3f} are found, '
        f'at the least {min(shares):.2f} ({repeats} searches)'
    )
    store.close()


def main() -> None:
    """Runs each part in a process of its own, so that none takes memory from another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=1_000_000)
    parser.add_argument('--repeats', type=int, default=200)
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--part', choices=('fill', 'search', 'compare'))
    asked = parser.parse_args()
    if asked.part == 'fill':
        fill(asked.folder, asked.count)
    elif asked.part == 'search':
        search(asked.folder, asked.count, asked.repeats)
    elif asked.part == 'compare':
        compare(asked.folder, asked.count, max(1, asked.repeats // 4))
    else:
        print(machine(2), flush=True)
        for part in ('fill', 'search', 'compare'):
            subprocess.run([sys.executable, *sys.argv, '--part', part], check=True)


if __name__ == '__main__':
    main()
