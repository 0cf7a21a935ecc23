# SPDX-License-Identifier: Apache-2.0
"""One world of a running Gazebo Classic, played once: its images with their stamps, and where its
things were.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Iterator
from pathlib import Path

from gazebo_messages import NANOSECONDS, Picture, Poses, picture_of, poses_of, world_control
from gazebo_sdf import CLASSIC_IMAGE_TOPIC, CLASSIC_POSE_TOPIC, WORLD_NAME, name_of
from gazebo_server import WORLDS_IN_TREE, GazeboServer
from gazebo_transport import GazeboTransport, GazeboUnreachable
from gazebo_worlds import LEAD_S, SECONDS, write_world

from penguin_ros.simulation.scene import Scene

CONTROL_TOPIC = f'/gazebo/{WORLD_NAME}/world_control'
RATE_HZ = 10.0
SILENCE_S, REPEAT_S = 30.0, 1.0
TOLERANCE_M = 0.03


class GazeboRun:
    """Starts a server for a scene, which stays paused until `pictures` is read; close it at the
    end.
    """

    def __init__(self, tree: Path, scene: Scene, number: int, logs: Path) -> None:
        folder = WORLDS_IN_TREE / str(number)
        world = write_world(scene, tree / folder, f'file:///{folder}', RATE_HZ)
        self.scene = scene
        self.poses: list[Poses] = []
        self.unreported: set[str] = set()
        self._server = GazeboServer(tree, world, logs / f'gzserver_{number}.log')
        self._transport: GazeboTransport | None = None

    def pictures(self) -> Iterator[Picture]:
        """Yields the images from the simulated time 0 to the scene's end, as the camera takes them;
        GazeboUnreachable or GazeboEnded when none come.
        """
        transport = self._transport = self._connected()
        pictures = transport.subscribe(CLASSIC_IMAGE_TOPIC, 'gazebo.msgs.ImageStamped')
        poses = transport.subscribe(CLASSIC_POSE_TOPIC, 'gazebo.msgs.PosesStamped')
        for subscription in (pictures, poses):
            if not subscription.is_connected.wait(SILENCE_S):
                self._server.check()
                raise GazeboUnreachable(
                    f'no publisher of {subscription.topic}',
                    f'waited {SILENCE_S:g} s',
                    f'See {self._server.log}',
                )
        transport.advertise(CONTROL_TOPIC, 'gazebo.msgs.WorldControl')
        last_ns = round((LEAD_S + SECONDS) * NANOSECONDS)
        picture = self._first(pictures.messages)
        while picture.stamp_ns <= last_ns:
            yield picture
            picture = self._next(pictures.messages, SILENCE_S)
        while not poses.messages.empty():
            self.poses.append(poses_of(poses.messages.get()))
        if pictures.dropped or poses.dropped:
            raise GazeboUnreachable(
                'messages of Gazebo were lost',
                f'{pictures.dropped} pictures, {poses.dropped} poses',
            )

    def largest_error_m(self) -> float:
        """Returns how far anything ever was from where the scene has it, by Gazebo's own poses;
        GazeboUnreachable when one is missing.

        Gazebo sends the pose of what never moves once, mostly before anybody listens; `unreported`
        then has its name.
        """
        worst, seen = 0.0, set[str]()
        for poses in self.poses:
            seconds = min(SECONDS, max(0.0, poses.stamp_ns / NANOSECONDS - LEAD_S))
            if poses.stamp_ns > (LEAD_S + SECONDS) * NANOSECONDS:
                continue
            places = {name_of(thing): thing.position(seconds) for thing in self.scene.things}
            places['camera'] = self.scene.camera.pose(seconds)[0]
            for name in places.keys() & poses.places.keys():
                seen.add(name)
                worst = max(worst, math.dist(places[name], poses.places[name]))
        self.unreported = {name_of(thing) for thing in self.scene.things} - seen
        missing = {
            name_of(thing) for thing in self.scene.things if thing.motion.kind != 'static'
        } & self.unreported
        if missing:
            raise GazeboUnreachable('Gazebo never told some poses', ', '.join(sorted(missing)))
        return worst

    def close(self) -> None:
        """Ends the connections, and the server with everything that it started."""
        self._server.stop()
        if self._transport is not None:
            self._transport.close()

    def _connected(self) -> GazeboTransport:
        try:
            return GazeboTransport(self._server.port, SILENCE_S)
        except GazeboUnreachable:
            self._server.check()
            raise

    def _first(self, messages: queue.Queue[bytes]) -> Picture:
        """Lets time run and returns the first image. The server may listen to that topic before it
        obeys, so the command is repeated until an image comes.
        """
        end = time.monotonic() + SILENCE_S
        while True:
            assert self._transport is not None
            self._transport.publish(CONTROL_TOPIC, world_control(is_paused=False))
            try:
                return self._next(messages, REPEAT_S)
            except GazeboUnreachable:
                if time.monotonic() > end:
                    raise

    def _next(self, messages: queue.Queue[bytes], timeout_s: float) -> Picture:
        try:
            return picture_of(messages.get(timeout=timeout_s))
        except queue.Empty:
            self._server.check()
            raise GazeboUnreachable(
                'Gazebo sends no picture', f'waited {timeout_s:g} s', f'See {self._server.log}'
            ) from None
