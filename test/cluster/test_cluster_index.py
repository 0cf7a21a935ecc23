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
from penguin_ros.cluster.span_captioner import EngineLost, SpanCaptioner
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


def test_a_captioner_that_cannot_begin_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    class OneBroken(Crew):
        def wait(self, timeout_s: float) -> Sequence[Outcome]:
            broken = [t for t in self.tasks if self.holders[t] == 'captioner 0']
            spans = [task for task in broken if isinstance(task, Span)]
            if spans:  # it fails at once, while the others are still at work
                self.tasks.remove(spans[0])
                return [Outcome(spans[0], 'failed', why='no such bundle')]
            return super().wait(timeout_s)

    with LinesSink(tmp_path / 'captions.jsonl') as sink:
        index = ClusterIndex(OneBroken(1, deaths=0.0), sink, CLIP_NS, lambda progress: None)
        index.run(PLACES)
    assert lines_in(tmp_path / 'captions.jsonl') == WANTED
    assert index.useless == {'captioner 0': 'no such bundle'}


def test_of_two_recordings_of_one_name_and_time_the_second_is_named_and_not_taken_for_known(
    tmp_path: Path,
) -> None:
    places = [RecordingPlace(f'/{day}/a', 'a', 'recording') for day in ('monday', 'tuesday')]
    for seed in range(4):
        with LinesSink(tmp_path / f'captions{seed}.jsonl') as sink:
            index = ClusterIndex(Crew(seed, deaths=0.0), sink, CLIP_NS, lambda progress: None)
            monday, tuesday = index.run([*places, places[0]]).values()
        assert (monday.captioned, monday.errors) == (CLIPS, [])
        assert (tuesday.captioned, tuesday.known) == (0, 0) and '/monday/a' in tuesday.errors[0]


def test_a_parquet_file_is_taken_over_whole_though_that_was_interrupted(tmp_path: Path) -> None:
    parquet = pytest.importorskip('pyarrow.parquet')
    path = tmp_path / 'captions.parquet'
    with file_sink(path) as sink:
        run(Crew(1, deaths=0.0), sink)
    line = {'recording': 'a', 'topic': 'recording', 'begin_ns': 7, 'end_ns': 7 + CLIP_NS // 2 + 1}
    journal = json.dumps({**line, 'text': 'clip 0', 'evidence': {}}) + '\n{"recording": "a", "be'
    (tmp_path / 'captions.parquet.journal.jsonl').write_text(journal)
    with file_sink(path):
        pass
    rows = parquet.read_table(path).to_pylist()
    assert Counter((row['recording'], row['begin_ns']) for row in rows) == WANTED


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
    failure: Exception | None = None
    asked = 0

    def caption(self, clip: Sequence[Frame]) -> Answer:
        self.asked += 1
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


class OwnCrew(Crew):
    """A crew of one, which reads and captions for real."""

    def __init__(self, captioner: SpanCaptioner) -> None:
        super().__init__(0, size=1, deaths=0.0)
        self.captioner = captioner

    def result(self, task: Task) -> RecordingFacts | SpanCaptions:
        is_place = isinstance(task, RecordingPlace)
        return self.captioner.describe(task) if is_place else self.captioner.caption(task)


def indexed(path: Path, out: Path, fps: float) -> tuple[int, RecordingReport]:
    """Indexes a film in clips of a second; returns how often the model was asked."""
    settings = {'clip.seconds': 1.0, 'clip.fps': fps}
    runner = Runner()
    captioner = SpanCaptioner(with_values(offline(PenguinConfig()), settings), False, runner)
    with LinesSink(out) as sink:
        index = ClusterIndex(OwnCrew(captioner), sink, NANOSECONDS, lambda progress: None)
        [report] = index.run([RecordingPlace(str(path), 'film', 'recording')]).values()
    return runner.asked, report


@pytest.mark.parametrize('fps', [1.0, 2.0], ids=['one frame a clip', 'two frames a clip'])
def test_what_is_captioned_is_not_asked_again_however_few_frames_a_clip_has(
    tmp_path: Path, fps: float
) -> None:
    import cv2

    path, out = tmp_path / 'film.avi', tmp_path / 'captions.jsonl'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 4, (64, 48))
    for number in range(41):  # the last clip has one frame
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    asked, report = indexed(path, out, fps)
    assert (asked, report.captioned, report.known) == (11, 11, 0)
    asked, report = indexed(path, out, fps)
    assert (asked, report.captioned, report.known) == (0, 0, 11)


def test_a_recording_that_does_not_say_how_long_it_is_is_captioned_to_its_end(
    tmp_path: Path,
) -> None:
    import cv2

    path = tmp_path / 'row.mjpeg'  # of pictures, without a head
    pictures = [np.full((48, 64, 3), number, np.uint8) for number in range(100)]
    path.write_bytes(b''.join(cv2.imencode('.jpg', each)[1].tobytes() for each in pictures))
    asked, report = indexed(path, tmp_path / 'captions.jsonl', 2.0)
    assert (asked, report.captioned, report.errors) == (4, 4, [])  # 25 frames a second


def test_an_engine_that_is_lost_is_told_and_costs_no_clip(tmp_path: Path) -> None:
    import cv2

    path, runner = tmp_path / 'film.avi', Runner()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 4, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    runner.failure = DeviceLost('the GPU is gone')
    captioner = SpanCaptioner(offline(PenguinConfig()), False, runner)
    with pytest.raises(EngineLost, match='the GPU is gone'):
        captioner.caption(Span(RecordingPlace(str(path), 'film', 'recording'), 0, 0, 1))
