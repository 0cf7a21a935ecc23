# SPDX-License-Identifier: Apache-2.0
"""A penguin node that watches a simulated camera, both as processes, and what is true about
everything it says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.graph import Graph, NodeProcess, stamp_ns
from support.live_node import LiveNode

from penguin_ros.ros.conversions.times import time_message
from penguin_ros.shipped import simulation_parameters
from penguin_ros.simulation.ground_truth import GroundTruth, from_json
from penguin_ros.simulation.language import parse_caption
from penguin_ros.simulation.scoring import CaptionScore, score_answer, score_caption
from penguin_ros.simulation.truth import Truth
from penguin_ros.simulation.world import World

SIM_CAMERA = 'penguin_ros.ros.sim_camera.main'
SLACK_NS = 250_000_000  # of a clip that shows all of a scene, at either end
LATE_S = 2.0  # in which a caption of before a reset may still arrive


@dataclass(frozen=True)
class Described:
    """A caption, the showing it is about, the truth of exactly its stretch of time, and its
    score.
    """

    caption: Any
    showing: GroundTruth
    truth: Truth
    is_whole: bool
    score: CaptionScore

    @property
    def start_ns(self) -> int:
        return stamp_ns(self.caption.evidence.start)

    @property
    def end_ns(self) -> int:
        return stamp_ns(self.caption.evidence.end)


@dataclass
class Tally:
    """Counts over the first whole captions of scenes, and over answers."""

    right: int = 0
    claimed: int = 0
    wanted: int = 0
    answers: list[tuple[str, str, str, bool]] = field(default_factory=list)
    """(kind, right answer, answer, whether it is right)"""

    @property
    def shares(self) -> dict[str, float]:
        """Returns the shares by the names of simulation_model.Measured."""
        return {
            'caption_precision': self.right / max(1, self.claimed),
            'caption_recall': self.right / max(1, self.wanted),
            'answers': sum(is_right for *_, is_right in self.answers) / max(1, len(self.answers)),
        }


class SimulatedWorld:
    """Starts the node, then the camera. `described` grows while the graph spins; what is wrong with
    a caption is added to `faults`.
    """

    def __init__(
        self, graph: Graph, world: World, node: Mapping[str, Any], camera: Mapping[str, Any]
    ) -> None:
        self.graph = graph
        self._world = world
        self.showings: list[GroundTruth] = []
        self.described: list[Described] = []
        self.faults: list[str] = []
        self._images: list[set[int]] = [set()]  # stamps, per epoch
        self._reset_s = 0.0
        latched = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        graph.node.create_subscription(String, '/sim_camera/ground_truth', self._on_truth, latched)
        graph.node.create_subscription(
            CompressedImage, '/camera/image/compressed', self._on_image, QoSProfile(depth=500)
        )
        files = ('--params-file', str(simulation_parameters()))
        self.node = LiveNode(
            graph,
            None,
            {
                'model.max_length': 4096,
                'visual.max_visual_tokens': 1024,
                'caption.max_tokens': 96,
                'question.max_tokens': 64,
                'generation.max_repeats': 8,
                **node,
            },
            arguments=files,
        )
        self._taken = 0
        self.node.wait_until('active')
        self.camera: NodeProcess = graph.start(SIM_CAMERA, parameters=camera, arguments=files)

    @property
    def whole(self) -> dict[int, Described]:
        """Returns the first caption of each showing that saw all of it."""
        first: dict[int, Described] = {}
        for item in self.described:
            if item.is_whole:
                first.setdefault(item.showing.number, item)
        return first

    def wait_for(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Spins and looks at new captions until the condition holds."""

        def looked() -> Any:
            self._take_captions()
            return condition()

        return self.graph.wait_for(looked, seconds, what)

    def ask(self, question: str, showing: GroundTruth) -> Any:
        """Returns the answer about a whole showing."""
        start, end = time_message(showing.start_ns), time_message(showing.end_ns)
        return self.node.ask(question, has_interval=True, start=start, end=end).answer

    def ask_all(self, item: Described, count: int, tally: Tally) -> None:
        """Asks up to `count` of a showing's questions."""
        for asked in item.showing.questions[:count]:
            answer = self.ask(asked.question, item.showing)
            assert answer.error_code == 0, answer.error_message
            assert item.showing.holds(
                stamp_ns(answer.evidence.start), stamp_ns(answer.evidence.end)
            )
            tally.answers.append(
                (asked.kind, asked.answer, answer.text, score_answer(answer.text, asked.answer))
            )

    def reset(self) -> None:
        """Sets the world's time back."""
        assert self.graph.call(
            self.graph.client(Trigger, '/sim_camera/reset'), Trigger.Request()
        ).success
        self._reset_s = time.monotonic()

    def stop(self) -> None:
        """Stops both, quietly."""
        self.camera.stop()
        self.node.process.stop()

    def _on_truth(self, message: Any) -> None:
        self._take_captions()  # those that came before belong to the epoch before
        showing = from_json(message.data)
        self.showings.append(showing)
        while len(self._images) <= showing.epoch:
            self._images.append(set())

    def _on_image(self, message: Any) -> None:
        """Keeps the stamp of an image, which comes after the truth of its scene."""
        self._images[self.showings[-1].epoch if self.showings else 0].add(
            stamp_ns(message.header.stamp)
        )

    def _take_captions(self) -> None:
        captions = self.node.captions
        while self._taken < len(captions):
            self._taken += 1
            self._look_at(captions[self._taken - 1])

    def _look_at(self, caption: Any) -> None:
        if caption.error_code:
            self.faults.append(f'caption with error {caption.error_code}: {caption.error_message}')
            return
        start_ns, end_ns = stamp_ns(caption.evidence.start), stamp_ns(caption.evidence.end)
        if not self.showings or (
            self.showings[-1].epoch == 0 and end_ns < self.showings[0].start_ns
        ):
            return  # of a scene that was over before its truth could be heard
        epoch = self.showings[-1].epoch
        if epoch == 0 and start_ns < min(self._images[0], default=math.inf):
            return  # of images that were sent before this client was connected
        showing = next(
            (
                item
                for item in self.showings
                if item.epoch == epoch and item.holds(start_ns, end_ns)
            ),
            None,
        )
        stamps = {stamp_ns(frame.stamp) for frame in caption.evidence.frames}
        if showing is None or not stamps <= self._images[epoch]:
            if (
                time.monotonic() - self._reset_s > LATE_S
            ):  # else it may have been under way when the time was set back
                missing = sorted(stamps - self._images[epoch]) if showing else 'no scene'
                self.faults.append(
                    f'caption of {start_ns} to {end_ns} belongs to no single scene of epoch '
                    f'{epoch}: {missing}'
                )
            return
        is_whole = start_ns - showing.start_ns <= SLACK_NS and showing.end_ns - end_ns <= SLACK_NS
        truth = showing.truth_between(self._world, start_ns, end_ns)
        self.described.append(
            Described(caption, showing, truth, is_whole, score_caption(caption.text, truth))
        )


def tally_of(items: list[Described]) -> Tally:
    """Counts the facts of captions."""
    return Tally(
        *(
            sum(getattr(item.score, name) for item in items)
            for name in ('right', 'claimed', 'wanted')
        )
    )


def events_outside(item: Described) -> list[str]:
    """Returns events that a caption names correctly and that did not happen in its stretch of time;
    for a whole showing, those that did not all happen.
    """
    found = parse_caption(item.caption.text)
    told = found.things if found is not None else frozenset()
    outside = []
    for event in item.showing.events:
        if (event.colour, event.shape, event.motion) in told:
            is_inside = event.start_ns <= item.end_ns and event.end_ns >= item.start_ns
            if item.is_whole:
                is_inside = (
                    item.start_ns <= event.start_ns + SLACK_NS
                    and item.end_ns >= event.end_ns - SLACK_NS
                )
            if not is_inside:
                outside.append(
                    f'{event} in {item.caption.text!r} of {item.start_ns} to {item.end_ns}'
                )
    return outside
