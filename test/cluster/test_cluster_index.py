# SPDX-License-Identifier: Apache-2.0
"""Every clip of every recording is written exactly once, whoever dies and however often."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from penguin_ros.cluster.caption_sinks import CaptionSink, LinesSink, StoreSink, file_sink
from penguin_ros.cluster.cluster_index import MOST_LOSSES, ClusterIndex, Progress, RecordingReport
from penguin_ros.cluster.crew import Outcome, Task
from penguin_ros.cluster.span_captioner import SpanCaptioner
from penguin_ros.cluster.spans import (
    ClipCaption,
    RecordingFacts,
    RecordingPlace,
    Span,
    SpanCaptions,
)
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import DeviceLost, SettingError
from penguin_ros.evaluation.offline import offline
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store
from penguin_ros.request import Answer
from penguin_ros.settings import with_values

CLIP_NS = 4 * NANOSECONDS
CLIPS = 20
PLACES = tuple(RecordingPlace(f'/data/{name}', name, 'recording') for name in ('a', 'b', 'torn'))


class Crew:
    """Captioners in this process; each outcome comes when `wait` is called, in any order."""

    def __init__(self, seed: int, size: int = 3, deaths: float = 0.2) -> None:
        self.random = random.Random(seed)
        self.size = size
        self.deaths = deaths
        self.tasks: list[Task] = []
        self.holders: dict[Task, str] = {}
        self.captioned = 0
        self.read: dict[str, list[Span]] = {f'captioner {n}': [] for n in range(size)}

    @property
    def idle(self) -> Sequence[str]:
        busy = {self.holders[task] for task in self.tasks}
        return [name for name in self.read if name not in busy]

    def give(self, captioner: str, task: Task) -> None:
        assert captioner in self.idle
        self.holders[task] = captioner
        self.tasks.append(task)
        if isinstance(task, Span):
            self.read[captioner].append(task)

    def wait(self, timeout_s: float) -> Sequence[Outcome]:
        self.random.shuffle(self.tasks)
        task = self.tasks.pop()
        if self.random.random() < self.deaths:
            return [Outcome(task, 'lost', why='killed')]
        return [Outcome(task, 'done', self.result(task))]

    def result(self, task: Task) -> RecordingFacts | SpanCaptions:
        if isinstance(task, RecordingPlace):
            if task.name == 'torn':
                return RecordingFacts(error='it is torn')
            return RecordingFacts(7, CLIPS * CLIP_NS)
        self.captioned += task.count
        return SpanCaptions(
            tuple(
                ClipCaption(7 + n * CLIP_NS, 7 + n * CLIP_NS + CLIP_NS // 2 + 1, f'clip {n}')
                for n in range(task.first, task.first + task.count)
            )
        )

    def close(self) -> None: ...


def lines_in(path: Path) -> Counter[tuple[str, int]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return Counter((line['recording'], line['begin_ns']) for line in lines)


def run(
    crew: Crew, sink: CaptionSink, on_progress: Callable[[Progress], None] = lambda progress: None
) -> dict[RecordingPlace, RecordingReport]:
    return ClusterIndex(crew, sink, CLIP_NS, on_progress, span_clips=3).run(PLACES)


WANTED = Counter({(name, 7 + n * CLIP_NS): 1 for name in 'ab' for n in range(CLIPS)})


@pytest.mark.parametrize('seed', range(12))
def test_each_clip_is_written_once_though_captioners_and_driver_die(
    tmp_path: Path, seed: int
) -> None:
    chance, path = random.Random(seed), tmp_path / 'captions.jsonl'

    def die(progress: Progress) -> None:
        if chance.random() < 0.15:
            raise KeyboardInterrupt

    for _ in range(500):
        try:
            with LinesSink(path) as sink:
                run(Crew(chance.randrange(1000), deaths=0.1), sink, die)
            break
        except KeyboardInterrupt:
            with path.open('ab') as file:  # the machine went down in the middle of a line
                file.write(b'{"recording": "a", "begin')
    reports = run(Crew(seed, deaths=0.0), LinesSink(path))
    assert lines_in(path) == WANTED
    assert [reports[place].known for place in PLACES] == [CLIPS, CLIPS, 0]
    assert [reports[place].captioned for place in PLACES] == [0, 0, 0]


def test_a_torn_recording_costs_only_itself_and_is_named(tmp_path: Path) -> None:
    with LinesSink(tmp_path / 'captions.jsonl') as sink:
        reports = run(Crew(1, deaths=0.0), sink)
    assert lines_in(tmp_path / 'captions.jsonl') == WANTED
    assert [reports[place].errors for place in PLACES] == [[], [], ['it is torn']]


def test_captioners_read_forwards_and_share_a_recording_only_when_none_is_left_alone(
    tmp_path: Path,
) -> None:
    crew = Crew(3, size=2, deaths=0.0)
    with LinesSink(tmp_path / 'captions.jsonl') as sink:
        run(crew, sink)
    for spans in crew.read.values():
        places = [span.place for span in spans]
        changes = sum(now != before for before, now in zip(places, places[1:], strict=False))
        assert changes <= 1  # to what the other one has open, when the own one is done
        for place in set(places):
            firsts = [span.first for span in spans if span.place == place]
            assert firsts == sorted(firsts)
    assert {spans[0].place for spans in crew.read.values()} == set(PLACES[:2])


def test_what_kills_every_captioner_is_given_up_and_the_rest_is_done(tmp_path: Path) -> None:
    class Deadly(Crew):
        def wait(self, timeout_s: float) -> Sequence[Outcome]:
            task = self.tasks.pop()
            if isinstance(task, Span) and task.place.name == 'a' and task.first == 3:
                return [Outcome(task, 'lost', why='killed')]
            return [Outcome(task, 'done', self.result(task))]

    with LinesSink(tmp_path / 'captions.jsonl') as sink:
        reports = run(Deadly(1), sink)
    a = reports[PLACES[0]]
    assert (a.captioned, a.failed) == (CLIPS - 3, 3) and f'{MOST_LOSSES} captioners' in a.errors[0]
    assert reports[PLACES[1]].captioned == CLIPS


def test_a_model_that_cannot_be_loaded_ends_the_index(tmp_path: Path) -> None:
    class Broken(Crew):
        def wait(self, timeout_s: float) -> Sequence[Outcome]:
            return [Outcome(self.tasks.pop(), 'failed', why='no such bundle')]

    with LinesSink(tmp_path / 'captions.jsonl') as sink, pytest.raises(DeviceLost) as caught:
        run(Broken(1), sink)
    assert 'no such bundle' in str(caught.value)


def test_a_memory_takes_each_clip_once(tmp_path: Path) -> None:
    for deaths in (0.2, 0.0):
        with StoreSink(Store.open(tmp_path), has_pictures=False) as sink:
            run(Crew(4, deaths=deaths), sink)
    with Store.open(tmp_path, is_read_only=True) as store:
        entries = [hit.entry for hit in store.recall(Filter(limit=100)).hits]
    assert Counter((entry.node, entry.start_ns) for entry in entries) == WANTED


def test_progress_ends_whole_and_tells_what_is_left(tmp_path: Path) -> None:
    told: list[Progress] = []
    now = iter(range(10_000))
    with LinesSink(tmp_path / 'captions.jsonl') as sink:
        crew = Crew(1, deaths=0.0)
        ClusterIndex(crew, sink, CLIP_NS, told.append, clock=lambda: next(now)).run(PLACES)
    assert told[-1].done == told[-1].total == 2 * CLIPS and told[-1].left_s == 0
    assert any(each.left_s for each in told[:-1])


def test_a_file_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / 'notes.jsonl'
    path.write_text('{"what": "else"}\n')
    with pytest.raises(SettingError, match='line 1'):
        LinesSink(path)
    with pytest.raises(SettingError, match='.jsonl or .parquet'):
        file_sink(tmp_path / 'captions.csv')
    assert path.read_text() == '{"what": "else"}\n'


# --- the captioner --------------------------------------------------------------------------------


class Runner:
    def caption(self, clip: Sequence[Frame]) -> Answer:
        return Answer('', '', '', f'{len(clip)} frames')


def test_spans_cut_a_recording_as_one_run_over_it_would(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 4, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    config = with_values(offline(PenguinConfig()), {'clip.seconds': 2.0, 'clip.fps': 2.0})
    captioner = SpanCaptioner(config, True, Runner())
    place = RecordingPlace(str(path), 'film', 'recording')
    facts = captioner.describe(place)
    whole = captioner.caption(Span(place, facts.origin_ns, 0, 5)).captions
    parts = [captioner.caption(Span(place, facts.origin_ns, first, 1)) for first in range(5)]
    assert [each.captions[0] for each in parts] == list(whole) and len(whole) == 5
    assert all(each.picture.startswith(b'\xff\xd8') for each in whole)
    path.write_bytes(path.read_bytes()[:300])
    assert captioner.caption(Span(place, facts.origin_ns, 0, 5)).error
    assert captioner.describe(place).error
