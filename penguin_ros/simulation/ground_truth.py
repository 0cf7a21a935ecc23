# SPDX-License-Identifier: Apache-2.0
"""What a simulated camera says about a scene besides its images, as JSON text and back.

It holds from `start_ns` to `end_ns`, the stamps of the first and the last image; a clip of a part
of that has a truth of its own, which `truth_between` finds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.simulation.language import facts
from penguin_ros.simulation.questions import QuestionAnswer
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.scene_file import SceneError, scene_from, scene_record
from penguin_ros.simulation.truth import Truth, truth
from penguin_ros.simulation.world import World


@dataclass(frozen=True)
class Event:
    """Something that one thing does, and when; `motion` is named as in captions (see
    motion_seen.py).
    """

    colour: str
    shape: str
    motion: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class GroundTruth:
    """The truth of one showing of a scene.

    `number` counts the showings since the start and `epoch` the resets of the clock before this
    one; `skipped` images were dropped until then. `caption` is the plainest true one; `is_clear`:
    no fact is a matter of opinion.
    """

    number: int
    epoch: int
    start_ns: int
    end_ns: int
    scene: Scene
    is_clear: bool
    caption: str
    facts: tuple[str, ...]
    events: tuple[Event, ...]
    questions: tuple[QuestionAnswer, ...]
    skipped: int = 0

    def holds(self, start_ns: int, end_ns: int) -> bool:
        """Returns whether a stretch of time lies inside this showing."""
        return self.start_ns <= start_ns <= end_ns <= self.end_ns

    def truth_between(self, world: World, start_ns: int, end_ns: int) -> Truth:
        """Returns the truth of a stretch of time inside this showing."""
        return truth(
            self.scene,
            world,
            (start_ns - self.start_ns) / NANOSECONDS,
            (end_ns - self.start_ns) / NANOSECONDS,
        )


def fact_texts(seen: Truth) -> tuple[str, ...]:
    """Returns every single fact in words, sorted: 'red box: left', 'count: 2', 'order: red box,
    blue ball'.
    """
    claimed = facts(seen)
    things = [f'{colour} {shape}: {motion}' for colour, shape, motion in sorted(claimed.things)]
    return (
        *things,
        f'count: {claimed.count}',
        'order: ' + ', '.join(' '.join(name) for name in claimed.order),
    )


def events_of(seen: Truth, scene: Scene, start_ns: int) -> tuple[Event, ...]:
    """Returns what things do during `seen`, in a scene that began at `start_ns`."""
    found = []
    for sight in seen.changed:
        motion = scene.things[sight.index].motion
        begin, end = max(seen.start_s, motion.start_s), min(seen.end_s, motion.stop_s)
        found.append(
            Event(
                sight.colour,
                sight.shape,
                sight.motion,
                start_ns + round(begin * NANOSECONDS),
                start_ns + round(end * NANOSECONDS),
            )
        )
    return tuple(found)


def to_json(truth: GroundTruth) -> str:
    """Returns one line of JSON: the fields of GroundTruth, with the scene as in scene_file.py."""
    record = {
        **vars(truth),
        'scene': scene_record(truth.scene),
        'events': [vars(event) for event in truth.events],
        'questions': [vars(question) for question in truth.questions],
    }
    return json.dumps(record, ensure_ascii=False)


def from_json(text: str) -> GroundTruth:
    """Returns the ground truth that `to_json` wrote; PenguinError when the text is none."""
    try:
        record: dict[str, Any] = json.loads(text)
        return GroundTruth(
            **{
                **record,
                'scene': scene_from(record['scene']),
                'facts': tuple(record['facts']),
                'events': tuple(Event(**event) for event in record['events']),
                'questions': tuple(QuestionAnswer(**question) for question in record['questions']),
            }
        )
    except SceneError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise PenguinError('this is no ground truth of a simulated camera', str(error)) from error
