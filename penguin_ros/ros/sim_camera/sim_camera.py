# SPDX-License-Identifier: Apache-2.0
"""A camera in a simulated world as a node: images, calibration, the world's clock, and what is true
about it.

The camera's thread draws and publishes images; the executor's thread publishes /clock and serves
the reset, so that time goes on however slow drawing is.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from penguin_ros.frame import NANOSECONDS
from penguin_ros.media.video import BgrImage
from penguin_ros.ros.camera_node.image_publisher import ImagePublisher, ImageStats, camera_publisher
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.sim_camera.clock import SimulatedClock, WallClock
from penguin_ros.ros.sim_camera.parameters import (
    SIMULATED,
    SimCameraParameters,
    sim_camera_parameters,
)
from penguin_ros.ros.sim_camera.scenes import SceneChoice, Showing, ground_truth, image_times_s
from penguin_ros.simulation.ground_truth import GroundTruth, to_json
from penguin_ros.simulation.scene import Scene
from penguin_ros.simulation.world import World

LEAD_NS = NANOSECONDS // 2  # the world's time before the first scene, and after a reset
GRID_NS = NANOSECONDS // 10
TRUTH_QOS = QoSProfile(depth=16, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimCamera(Node):
    """Shows scenes from `start` to the last one or `stop`; PenguinError when parameters do not fit.

    `on_end` is called once on the camera's thread after the last scene, or with the error that
    ended it. `make_world(width, height)` makes the world to draw, on that thread.
    """

    def __init__(
        self,
        on_end: Callable[[BaseException | None], None],
        make_world: Callable[[int, int], World] = World,
        **node_arguments: Any,
    ) -> None:
        super().__init__('sim_camera', **node_arguments)
        self._on_end = on_end
        self._make_world = make_world
        self.parameters: SimCameraParameters = sim_camera_parameters(self)
        settings = self.parameters
        self._scenes = SceneChoice(
            settings.scene, settings.seed, settings.level, settings.seconds, settings.scenes
        )
        self._images = ImagePublisher(
            self, settings.topic, settings.encoding, settings.jpeg_quality
        )
        self._calibration = camera_publisher(self, CameraInfo, settings.info_topic)
        self._truth = self.create_publisher(String, '~/ground_truth', TRUTH_QOS)
        self._clock_topic: Publisher | None = None
        self.create_service(Trigger, '~/reset', self._reset)
        self._world_clock = self._clock_of(settings)
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self.stats = ImageStats()

    def start(self) -> None:
        """Begins to show scenes."""
        settings = self.parameters
        what = settings.scene or f'scenes of level {settings.level} from seed {settings.seed}'
        self.get_logger().info(f'{what} at {settings.rate:.4g} Hz on {self._images.topic_name}')
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the camera's thread; to be called before the context is shut down."""
        self._world_clock.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _clock_of(self, settings: SimCameraParameters) -> SimulatedClock:
        """Makes the world's clock, and publishes it on /clock when time is simulated."""
        if settings.clock != SIMULATED:
            return WallClock(self.get_clock().now().nanoseconds)
        self._clock_topic = self.create_publisher(Clock, '/clock', 10)
        self.create_timer(
            1.0 / settings.clock_rate,
            self._publish_clock,
            clock=RosClock(clock_type=ClockType.STEADY_TIME),
        )
        start_ns = round(settings.clock_start * NANOSECONDS)
        return SimulatedClock(start_ns, settings.real_time_factor)

    # --- the executor's thread --------------------------------------------------------------------

    def _publish_clock(self) -> None:
        assert self._clock_topic is not None
        self._clock_topic.publish(Clock(clock=time_message(self._world_clock.now()[1])))

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._clock_topic is not None
        response.message = (
            'time starts again'
            if response.success
            else 'real time cannot be set back: set clock to simulated'
        )
        if response.success:
            self._world_clock.reset()
            self._publish_clock()
        return response

    # --- the camera's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            world = self._make_world(self.parameters.width, self.parameters.height)
            try:
                self._show_all(world)
            finally:
                world.close()
        except Exception as failure:  # reported by whoever waits for the end
            error = failure
        if not self._world_clock.is_closed and self.context.ok():
            self._on_end(error)

    def _show_all(self, world: World) -> None:
        """Shows one scene after the other; after a reset the next one begins at the new time."""
        epoch = -1
        start_ns = 0
        for number, scene in enumerate(self._scenes.scenes()):
            now_epoch, now_ns = self._world_clock.now()
            start_ns = _full(now_ns + LEAD_NS if now_epoch != epoch else max(start_ns, now_ns))
            epoch = now_epoch
            times_s = image_times_s(scene, self.parameters.rate)
            showing = Showing(number, epoch, start_ns, times_s[-1], self.stats.skipped)
            truth = ground_truth(world, scene, showing)
            if self._world_clock.is_closed:
                return
            self._truth.publish(String(data=to_json(truth)))
            self._show(world, truth, times_s)
            pause_s = max(self.parameters.pause, 1.0 / self.parameters.rate)
            start_ns = truth.end_ns + round(pause_s * NANOSECONDS)
        self._world_clock.wait_until(epoch, start_ns)

    def _show(self, world: World, truth: GroundTruth, times_s: list[float]) -> None:
        """Publishes one image per time.

        Images whose successor is due already are skipped, so that a slow machine lags by one at
        most.
        """
        period_ns = NANOSECONDS / self.parameters.rate
        for seconds in times_s:
            stamp_ns = truth.start_ns + round(seconds * NANOSECONDS)
            if not self._world_clock.wait_until(truth.epoch, stamp_ns):
                return
            is_last = seconds == times_s[-1]
            if not is_last and self._world_clock.now()[1] >= stamp_ns + period_ns:
                self.stats = ImageStats(self.stats.sent, self.stats.skipped + 1)
            else:
                self._publish(world, truth, seconds, stamp_ns)
                self.stats = ImageStats(self.stats.sent + 1, self.stats.skipped)

    def _publish(self, world: World, truth: GroundTruth, seconds: float, stamp_ns: int) -> None:
        """Draws and publishes one image with its calibration.

        Nothing is drawn while nobody has subscribed, and nothing from before a reset is sent after
        it.
        """
        header = Header(stamp=time_message(stamp_ns), frame_id=self.parameters.frame_id)
        messages: list[tuple[Publisher, Any]] = [
            (self._calibration, camera_info(header, truth.scene, world.width, world.height))
        ]
        if self._images.has_subscribers:
            bgr: BgrImage = np.ascontiguousarray(world.render(seconds)[..., ::-1])
            messages += self._images.messages(header, bgr)
        self._world_clock.run_in(truth.epoch, lambda: _publish_all(messages))


def _full(time_ns: int) -> int:
    """Rounds up to GRID_NS, so that stamps are easy to read."""
    return -(-time_ns // GRID_NS) * GRID_NS


def _publish_all(messages: list[tuple[Publisher, Any]]) -> None:
    for publisher, message in messages:
        publisher.publish(message)


def camera_info(header: Header, scene: Scene, width: int, height: int) -> CameraInfo:
    """Returns the calibration of a scene's camera, which has square pixels and no distortion."""
    focal = height / 2 / math.tan(scene.camera.fov_y / 2)
    centre_x = (width - 1) / 2
    centre_y = (height - 1) / 2
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[focal, 0.0, centre_x, 0.0, focal, centre_y, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, centre_x, 0.0, 0.0, focal, centre_y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
