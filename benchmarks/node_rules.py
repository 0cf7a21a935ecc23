# SPDX-License-Identifier: Apache-2.0
"""The node over topics with everything at once: a caption every second, rules at 1 Hz and a
question every 5 s on the included model. Is anything lost, are periods kept, how long does each
take, does memory grow?

Camera and node are processes on a ROS_DOMAIN_ID of their own; all is counted from outside, from
messages and /proc.

    python benchmarks/node_rules.py --seconds 600 --rules 20
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.benchmark.live.node import spread
from penguin_ros.benchmark.live.scenes import CHANGING, stream, write_video
from penguin_ros.benchmark.machine import process_usage
from penguin_ros.config import ModelConfig
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.simulation.scene import COLOURS, SHAPES

NAMESPACE = '/penguin_bench'
NODE = f'{NAMESPACE}/penguin'
RATE_HZ, VIDEO_S, SIZE = 15.0, 16, (640, 480)
QUESTION_PERIOD_S, PERIOD_S, CAPTION_PERIOD_S = 5.0, 1.0, 1.0
LATE = 1.5
"""An evaluation that comes after so many periods came late."""
START_LIMIT_S, ANSWER_LIMIT_S, WARM_UP_S = 300.0, 60.0, 35.0
QUESTION = 'How many things are there?'


@dataclass(eq=False)
class Seen:
    """What came since the measurement began. `rules` has (steady seconds, RuleStates); `answers`
    (seconds from the question to the answer, Answer).
    """

    captions: list[tuple[float, Any]] = field(default_factory=list)
    rules: list[tuple[float, Any]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    statuses: list[Any] = field(default_factory=list)
    told_events: list[int] = field(default_factory=list)
    answers: list[tuple[float, Any]] = field(default_factory=list)
    usage: list[tuple[float, float, int]] = field(default_factory=list)
    asked: int = 0

    def clear(self) -> None:
        """Begins the measurement."""
        for name in ('captions', 'rules', 'events', 'answers', 'usage'):
            getattr(self, name).clear()
        self.statuses[:-1] = []
        self.told_events[:-1] = []
        self.asked = 0


def main() -> None:
    """Runs everything, prints a table and writes what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=600.0)
    parser.add_argument('--rules', type=int, default=20)
    parser.add_argument('--json', type=Path, default=None)
    arguments = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    with tempfile.TemporaryDirectory(prefix='penguin_rules_') as folder:
        found = measured(arguments.seconds, arguments.rules, Path(folder))
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')


def measured(seconds: float, rules: int, folder: Path) -> dict[str, Any]:
    """Starts camera and node, watches, and returns the figures."""
    shown = stream(CHANGING, VIDEO_S, RATE_HZ, SIZE)
    video = write_video(folder / 'film.mp4', [frame.image for frame in shown.frames], RATE_HZ)
    camera = NodeProcess(
        'camera_node',
        folder,
        {'source': str(video), 'loop': True, 'rate': RATE_HZ},
        {'image': 'camera/image', '__ns': NAMESPACE},
    )
    model = with_bundle(ModelConfig(checkpoint='penguin_sim', backend='onnxruntime'))
    settings = {
        'model.bundle': model.bundle,
        'clip.fps': 2.0,
        'clip.max_frames': 4,
        'clip.seconds': 2.0,
        'clip.window': 'recent',
        'visual.policy': 'fixed',
        'visual.key_tokens': 24,
        'visual.intermediate_tokens': 24,
        'caption.period': CAPTION_PERIOD_S,
        'rule.period': PERIOD_S,
        'rule.file': str(folder / 'rules.yaml'),
    }
    penguin = NodeProcess('penguin_node', folder, settings, {'__ns': NAMESPACE})
    try:
        camera.start()
        penguin.start()
        seen, elapsed_s = watched(seconds, rules, (camera, penguin))
    finally:
        penguin.stop()
        camera.stop()
    return {'settings': settings, 'rules': rules, **figures(seen, elapsed_s)}


def conditions(count: int) -> list[str]:
    """Questions of the simulated world that are answered with yes or no."""
    things = [f'{colour} {shape}' for colour in COLOURS for shape in SHAPES]
    return [f'Is there a {things[number % len(things)]}?' for number in range(count)]


def watched(seconds: float, count: int, processes: Sequence[NodeProcess]) -> tuple[Seen, float]:
    """Sets the rules, warms up and measures."""
    from penguin_ros.ros.client.rule_client import RuleClient
    from penguin_ros.ros.client.session import session

    seen = Seen()
    with session('penguin_rules_watch') as watch:
        subscribe(watch.node, seen)

        def spin(is_done: Callable[[], bool], limit_s: float) -> bool:
            found = watch.spin_until(is_done, limit_s)
            for process in processes:
                process.check()
            return found

        assert spin(lambda: bool(seen.captions), START_LIMIT_S), processes[1].tail()
        client = RuleClient(watch, NODE)
        for number, condition in enumerate(conditions(count)):
            client.set({'id': f'rule{number}', 'condition': condition})
        spin(lambda: False, min(WARM_UP_S, seconds / 2))
        seen.clear()
        asker = Asker(watch.node, seen)
        start = time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            seen.usage.append((now, *process_usage(processes[1].pid)))
            asker.ask_when_due(now)
            spin(lambda: False, min(0.5, seconds - now))
        spin(lambda: len(seen.answers) == seen.asked, ANSWER_LIMIT_S)
        spin(lambda: False, 1.5)  # for the status and the diagnostics that count it all
        return seen, time.monotonic() - start


class Asker:
    """Asks a question every 5 s through the service, whether or not the last one is answered."""

    def __init__(self, node: Any, seen: Seen) -> None:
        from penguin_msgs.srv import Ask
        from rclpy.qos import QoSProfile

        self._request = Ask.Request(question=QUESTION)
        self._client = node.create_client(Ask, f'{NODE}/ask', qos_profile=QoSProfile(depth=1000))
        assert self._client.wait_for_service(30.0)
        self._seen = seen
        self._next_s = QUESTION_PERIOD_S / 2

    def ask_when_due(self, now_s: float) -> None:
        """Asks when it is time."""
        if now_s < self._next_s:
            return
        self._next_s += QUESTION_PERIOD_S
        self._seen.asked += 1
        begun = time.monotonic()
        self._client.call_async(self._request).add_done_callback(
            lambda future: self._seen.answers.append(
                (time.monotonic() - begun, future.result().answer)
            )
        )


def subscribe(node: Any, seen: Seen) -> None:
    """Collects what the node publishes."""
    from diagnostic_msgs.msg import DiagnosticArray
    from penguin_msgs.msg import Caption, Event, RuleStates, Status
    from rclpy.qos import QoSProfile

    deep = QoSProfile(depth=256)
    now = time.monotonic
    for kind, topic, take in (
        (Caption, f'{NODE}/caption', lambda message: seen.captions.append((now(), message))),
        (RuleStates, f'{NODE}/rule_states', lambda message: seen.rules.append((now(), message))),
        (Event, f'{NODE}/event', seen.events.append),
        (Status, f'{NODE}/status', seen.statuses.append),
        (DiagnosticArray, '/diagnostics', lambda message: note_events(message, seen)),
    ):
        node.create_subscription(kind, topic, take, deep)


def note_events(message: Any, seen: Seen) -> None:
    """Notes how many events the node says that it has published."""
    for status in message.status:
        if status.name == f'{NODE}: rules':
            counts = [int(each.value) for each in status.values if each.key.startswith('events: ')]
            seen.told_events.append(sum(counts))


def figures(seen: Seen, elapsed_s: float) -> dict[str, Any]:
    """Returns what was lost, periods, latencies and memory."""
    usage = np.array(seen.usage)
    quarter = max(1, len(usage) // 4)
    first, last = seen.statuses[0], seen.statuses[-1]
    good = [(at, caption) for at, caption in seen.captions if not caption.error_code]
    return {
        'seconds': elapsed_s,
        'load': os.getloadavg(),
        'captions': len(good),
        'captions_published': last.captions_published - first.captions_published,
        'captions_dropped': last.captions_dropped - first.captions_dropped,
        'caption_interval': spread(np.diff([at for at, _ in good]).tolist()),
        'caption_work': spread([work_s(caption.evidence) for _, caption in good]),
        'asked': seen.asked,
        'answered': sum(not answer.error_code for _, answer in seen.answers),
        'answer': spread([took_s for took_s, _ in seen.answers]),
        'first_token': spread(
            [seconds_of(answer.evidence.first_token_latency) for _, answer in seen.answers]
        ),
        'events': len(seen.events),
        'events_published': seen.told_events[-1] - seen.told_events[0] if seen.told_events else 0,
        'event_kinds': dict(Counter(event.kind for event in seen.events)),
        **rule_figures(seen),
        'cpu_percent': 100 * float(usage[-1, 1] - usage[0, 1]) / float(usage[-1, 0] - usage[0, 0]),
        'resident_start': float(np.median(usage[:quarter, 2])),
        'resident_end': float(np.median(usage[-quarter:, 2])),
        'resident_highest': float(usage[:, 2].max()),
        'resident_each_minute': [
            float(np.median(usage[usage[:, 0] // 60 == minute, 2]))
            for minute in range(int(usage[-1, 0] // 60) + 1)
        ],
    }


def rule_figures(seen: Seen) -> dict[str, Any]:
    """Returns how often rules were evaluated, at which intervals of stamps, and how old the newest
    frame was when the result was published.
    """
    evaluated: dict[str, list[tuple[int, int, int]]] = {}
    late = unknown = states = 0
    for _, message in seen.rules:
        for state in message.states:
            states += 1
            late += not state.keeps_period
            unknown += state.state == state.UNKNOWN
            line = evaluated.setdefault(state.rule, [])
            if not line or line[-1][0] != state.evaluations:
                stamps = to_nanoseconds(state.evaluated), to_nanoseconds(message.stamp)
                line.append((state.evaluations, *stamps))
    intervals, ages = list[float](), list[float]()
    for line in evaluated.values():
        for before, after in zip(line, line[1:], strict=False):
            count = after[0] - before[0]
            intervals += [(after[1] - before[1]) / NANOSECONDS / count] * count
        ages += [(now_ns - stamp_ns) / NANOSECONDS for _, stamp_ns, now_ns in line[1:]]
    return {
        'evaluations': sum(line[-1][0] - line[0][0] for line in evaluated.values()),
        'rule_interval': spread(intervals),
        'late_intervals': sum(each > LATE * PERIOD_S for each in intervals),
        'rule_age': spread(ages),
        'states': states,
        'states_late': late,
        'states_unknown': unknown,
    }


def work_s(evidence: Any) -> float:
    """Returns how long a caption took from its request on."""
    parts = evidence.wait, evidence.encode, evidence.prefill, evidence.decode
    return sum(map(seconds_of, parts))


def seconds_of(duration: Any) -> float:
    """Returns a duration in seconds."""
    return to_nanoseconds(duration) / NANOSECONDS


def table(found: dict[str, Any]) -> str:
    """Returns the figures as a table in Markdown."""
    rows = [
        (
            'captions: interval',
            found['caption_interval'],
            f'{found["captions"]} of '
            f'{found["captions_published"]} received, {found["captions_dropped"]} dropped',
        ),
        ('captions: from request to whole text', found['caption_work'], ''),
        (
            'questions: from request to whole answer',
            found['answer'],
            f'{found["answered"]} of {found["asked"]} answered',
        ),
        ('questions: first token', found['first_token'], ''),
        (
            'rules: interval of evaluations',
            found['rule_interval'],
            f'{found["evaluations"]} evaluations of {found["rules"]} rules, '
            f'{found["late_intervals"]} later than {LATE} periods',
        ),
        (
            'rules: age of the newest frame at the result',
            found['rule_age'],
            f'{found["states_late"]} of {found["states"]} states say that the period is not kept',
        ),
    ]
    lines = ['| | p50 [s] | p95 [s] | max [s] | |', '|---|---|---|---|---|']
    for name, values, note in rows:
        cells = [f'{values[key]:.2f}' if values else '–' for key in ('p50', 'p95', 'max')]
        lines.append(f'| {name} | {" | ".join(cells)} | {note} |')
    mega = 1e6
    lines.append(
        f'\n{found["seconds"]:.0f} s; events {found["events"]} of {found["events_published"]} '
        f'received; {found["cpu_percent"]:.0f} % of a core; resident memory '
        f'{found["resident_start"] / mega:.1f} MB in the first quarter, '
        f'{found["resident_end"] / mega:.1f} MB in the last, at most '
        f'{found["resident_highest"] / mega:.1f} MB'
    )
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
