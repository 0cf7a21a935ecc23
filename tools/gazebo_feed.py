# SPDX-License-Identifier: Apache-2.0
"""Publishes Gazebo's images as topics of ROS 2, and listens to what the penguin node says about
them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from gazebo_messages import NANOSECONDS
from gazebo_run import GazeboRun
from gazebo_worlds import LEAD_S, SECONDS
from PIL import Image as PilImage

from penguin_ros.demo.row import ShownCaption
from penguin_ros.errors import DeadlineExceeded
from penguin_ros.frame import to_nanoseconds
from penguin_ros.ros.client.question_client import AskedQuestion, QuestionClient
from penguin_ros.ros.client.session import Session
from penguin_ros.ros.sim_camera.scenes import Showing, ground_truth
from penguin_ros.simulation.ground_truth import GroundTruth
from penguin_ros.simulation.language import caption as true_caption
from penguin_ros.simulation.language import facts, parse_caption
from penguin_ros.simulation.scoring import score_caption
from penguin_ros.simulation.world import World

PAUSE_NS = 5 * NANOSECONDS
"""Time between two worlds, so that no clip spans both."""
CLOCK_STEP_NS = NANOSECONDS // 20
SLACK_NS = NANOSECONDS // 4
"""How far inside a scene a clip may begin and end and still show all of it."""
CAPTION_S, ANSWER_S = 40.0, 30.0


class GazeboFeed:
    """Publishes camera/image and /clock and listens to the node; used by the thread that spins the
    session.

    A world's time begins at 0 in Gazebo; in ROS each world's time continues where the one before
    ended.
    """

    def __init__(self, session: Session, node_name: str, world: World) -> None:
        from penguin_msgs.msg import Caption
        from rclpy.qos import QoSProfile
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Image

        from penguin_ros.ros.conversions.topics import IMAGE_TOPIC, camera_qos

        self.captions: list[Any] = []
        self.pictures: dict[int, bytes] = {}
        """JPEG data by stamp, for the contact sheet; the node gets the raw pictures."""
        self.now_ns = NANOSECONDS
        self._session = session
        self._world = world
        self._image = session.node.create_publisher(Image, f'/{IMAGE_TOPIC}', camera_qos())
        self._clock = session.node.create_publisher(Clock, '/clock', 10)
        session.node.create_subscription(
            Caption, f'{node_name}/caption', self.captions.append, QoSProfile(depth=256)
        )
        self._client = QuestionClient(session, node_name)

    def is_watched(self) -> bool:
        """Returns whether the node has subscribed to the images."""
        return self._image.get_subscription_count() > 0

    def play(self, run: GazeboRun, number: int) -> GroundTruth:
        """Publishes a world from its beginning to the scene's end, and returns what was true
        meanwhile.
        """
        base_ns = self.now_ns
        first_ns = base_ns + round(LEAD_S * NANOSECONDS)
        for picture in run.pictures():
            self._tell_time(base_ns + picture.stamp_ns)
            if self.now_ns >= first_ns:
                self._publish(self.now_ns, picture.image)
            self._session.spin_until(lambda: False, 0.01)
        return ground_truth(self._world, run.scene, Showing(number, 0, first_ns, SECONDS, 0))

    def described(self, truth: GroundTruth, check: Callable[[], None]) -> ShownCaption:
        """Returns the first caption of a whole scene, with the truth of exactly its stretch of
        time; DeadlineExceeded when none comes.

        Meanwhile simulated time goes on as real time does.
        """
        found: list[Any] = []
        end = time.monotonic() + CAPTION_S
        while not found:
            check()
            if time.monotonic() > end:
                raise DeadlineExceeded(
                    f'no caption shows all of scene {truth.number + 1}',
                    f'waited {CAPTION_S:g} s; {len(self.captions)} captions in all',
                )
            self._session.spin_until(lambda: False, CLOCK_STEP_NS / NANOSECONDS)
            self._tell_time(self.now_ns + CLOCK_STEP_NS)
            found = [
                caption
                for caption in self.captions
                if not caption.error_code and _shows_all(caption, truth)
            ]
        return self._compared(found[0], truth)

    def ask(self, question: str, truth: GroundTruth) -> Any:
        """Returns the penguin_msgs/Answer about a whole scene."""
        return self._client.ask(
            AskedQuestion(
                question, deadline_s=ANSWER_S, interval_ns=(truth.start_ns, truth.end_ns)
            ),
            lambda text: None,
            ANSWER_S,
        )

    def pause(self) -> None:
        """Lets simulated time pass without images."""
        until_ns = self.now_ns + PAUSE_NS
        while self.now_ns < until_ns:
            self._tell_time(min(until_ns, self.now_ns + CLOCK_STEP_NS))
            self._session.spin_until(lambda: False, 0.005)

    def _tell_time(self, now_ns: int) -> None:
        from rosgraph_msgs.msg import Clock

        from penguin_ros.ros.conversions.times import time_message

        self.now_ns = now_ns
        self._clock.publish(Clock(clock=time_message(now_ns)))

    def _publish(self, now_ns: int, image: Any) -> None:
        from std_msgs.msg import Header

        from penguin_ros.ros.camera_node.image_publisher import raw_message
        from penguin_ros.ros.conversions.times import time_message
        from penguin_ros.ros.conversions.topics import OPTICAL_FRAME

        self._image.publish(
            raw_message(
                Header(stamp=time_message(now_ns), frame_id=OPTICAL_FRAME), image[..., ::-1], 'rgb8'
            )
        )
        jpeg = io.BytesIO()
        PilImage.fromarray(image).save(jpeg, 'JPEG', quality=92)
        self.pictures[now_ns] = jpeg.getvalue()

    def _compared(self, caption: Any, truth: GroundTruth) -> ShownCaption:
        evidence = caption.evidence
        seen = truth.truth_between(
            self._world, to_nanoseconds(evidence.start), to_nanoseconds(evidence.end)
        )
        found, wanted = parse_caption(caption.text), facts(seen).claims()
        claimed = found.claims() if found is not None else frozenset()
        return ShownCaption(
            truth.number,
            ' '.join(caption.text.split()),
            true_caption(seen),
            tuple(to_nanoseconds(frame.stamp) for frame in evidence.frames),
            score_caption(caption.text, seen),
            claimed & wanted,
            claimed - wanted,
            wanted - claimed,
        )


def _shows_all(caption: Any, truth: GroundTruth) -> bool:
    start_ns, end_ns = to_nanoseconds(caption.evidence.start), to_nanoseconds(caption.evidence.end)
    return (
        truth.holds(start_ns, end_ns)
        and start_ns - truth.start_ns <= SLACK_NS
        and truth.end_ns - end_ns <= SLACK_NS
    )
