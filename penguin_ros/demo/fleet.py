# SPDX-License-Identifier: Apache-2.0
"""A small fleet: two robots with a simulated camera each, and one served engine that answers for
both. The server is killed and comes back, and captions go on.

Everything runs on the thread that calls `run_fleet_demo`, which also spins the session.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penguin_ros.console import print_line, status_line
from penguin_ros.demo.fleet_picture import CaptionMoment, FleetRun, write_fleet_picture
from penguin_ros.demo.nodes import CAMERA, FACTOR, IMAGE_TOPIC, DemoSettings, model_bundle
from penguin_ros.demo.served_engine import ServedEngine
from penguin_ros.ros.client.session import Session, session
from penguin_ros.ros.process.node_process import NodeProcess
from penguin_ros.shipped import simulation_parameters

ROBOTS = ('robot1', 'robot2')
ENDPOINT = 'served'
CAPTIONS = 3
"""So many captions of each robot make a phase."""
PHASES = ('served', 'server killed', 'server back')
LEVEL = 3
REMOTE_PARAMETERS = {
    'question.engine': 'auto',
    'caption.engine': 'auto',
    'remote.check_period': 0.5,
    'remote.failures': 2,
    'remote.recovery': 1.0,
}


@dataclass
class RobotWatch:
    """One robot's nodes and captions. `counts`: captions by phase, and whether the served engine
    made them; `pause_s`: the longest time between two; `moments`: steady seconds of each, and
    whether the served engine made it.
    """

    name: str
    camera: NodeProcess
    penguin: NodeProcess
    counts: dict[tuple[str, bool], int] = field(default_factory=dict)
    pause_s: float = 0.0
    last: float = 0.0
    moments: list[tuple[float, bool]] = field(default_factory=list)

    def note(self, phase: str, is_served: bool) -> None:
        """Notes that a caption has come."""
        now = time.monotonic()
        self.pause_s = max(self.pause_s, now - self.last) if self.last else 0.0
        self.last = now
        self.moments.append((now, is_served))
        self.counts[phase, is_served] = self.counts.get((phase, is_served), 0) + 1

    def count(self, phase: str, is_served: bool) -> int:
        """How many captions came in a phase."""
        return self.counts.get((phase, is_served), 0)


def run_fleet_demo(settings: DemoSettings) -> bool:
    """Shows the three phases, each until both robots have made their captions; returns whether they
    did within the time of the settings.
    """
    os.environ.setdefault('ROS_DOMAIN_ID', str(20 + os.getpid() % 80))
    bundle = model_bundle(settings)
    with (
        tempfile.TemporaryDirectory(prefix='penguin_fleet_') as folder,
        contextlib.ExitStack() as stack,
    ):
        server = ServedEngine(bundle, Path(folder))
        stack.callback(server.stop)
        robots = [
            _robot(name, number, bundle, server, Path(folder)) for number, name in enumerate(ROBOTS)
        ]
        for robot in robots:
            stack.callback(robot.camera.stop)
            stack.callback(robot.penguin.stop)
        with session('penguin_fleet_watch') as watch_session:
            fleet = FleetWatch(watch_session, server, robots, time.monotonic() + settings.seconds)
            is_complete = fleet.run()
    fleet.print_summary()
    picture = write_fleet_picture(fleet.shown(), settings.sheet)
    print_line(f'picture: {picture}')
    return is_complete


class FleetWatch:
    """Runs the phases and counts. `end`: steady seconds."""

    def __init__(
        self, watch_session: Session, server: ServedEngine, robots: list[RobotWatch], end: float
    ) -> None:
        from penguin_msgs.msg import Caption
        from rclpy.qos import QoSProfile

        self._session = watch_session
        self._server = server
        self._robots = robots
        self._end = end
        self._phase = PHASES[0]
        self._began = time.monotonic()
        self._is_first = True
        self._changes: list[tuple[str, float]] = []
        self._begins: dict[str, float] = {}
        for robot in robots:
            watch_session.node.create_subscription(
                Caption,
                f'/{robot.name}/penguin/caption',
                lambda message, robot=robot: self._on_caption(robot, message),
                QoSProfile(depth=256),
            )

    def run(self) -> bool:
        """Returns whether all phases were shown."""
        self._server.start()
        for robot in self._robots:
            robot.camera.start()
        if not self._wait(self._server.is_ready, 'the served engine loads its model'):
            return False
        for robot in self._robots:
            robot.penguin.start()
        return self._served() and self._killed() and self._back()

    def print_summary(self) -> None:
        """Prints what each robot did in each phase."""
        for robot in self._robots:
            told = ', '.join(
                f'{phase}: {robot.count(phase, True)} from the server, '
                f'{robot.count(phase, False)} from its own model'
                for phase in PHASES
            )
            print_line(f'{robot.name}  {told}; longest pause {robot.pause_s:.1f} s')
        print_line('; '.join(f'{what} after {seconds:.1f} s' for what, seconds in self._changes))

    def shown(self) -> FleetRun:
        """Returns when captions came, from the first one on."""
        first = min((robot.moments[0][0] for robot in self._robots if robot.moments), default=0.0)
        killed, back = (self._begins.get(phase) for phase in PHASES[1:])
        return FleetRun(
            {
                robot.name: [CaptionMoment(at - first, served) for at, served in robot.moments]
                for robot in self._robots
            },
            None if killed is None else killed - first,
            None if back is None else back - first,
        )

    def _served(self) -> bool:
        self._begin(PHASES[0])
        return self._wait(lambda: self._have(is_served=True), 'the robots ask the served engine')

    def _killed(self) -> bool:
        self._server.kill()
        self._begin(PHASES[1])
        return self._wait(lambda: self._have(is_served=False), 'the server was killed')

    def _back(self) -> bool:
        self._server.start()
        if not self._wait(self._server.is_ready, 'the server is started again'):
            return False
        self._begin(PHASES[2])
        return self._wait(lambda: self._have(is_served=True), 'the server is back')

    def _begin(self, phase: str) -> None:
        self._phase, self._began = phase, time.monotonic()
        self._begins[phase] = self._began
        self._is_first = True
        print_line(f'\n{phase}')

    def _have(self, is_served: bool) -> bool:
        return all(robot.count(self._phase, is_served) >= CAPTIONS for robot in self._robots)

    def _on_caption(self, robot: RobotWatch, message: Any) -> None:
        if message.error_code:
            status_line(f'{robot.name}: {message.error_message}')
            return
        evidence = message.evidence
        is_served = bool(evidence.endpoint)
        robot.note(self._phase, is_served)
        if self._is_first and is_served == (self._phase != PHASES[1]):
            self._is_first = False
            self._changes.append(
                (f'{self._phase}: first such caption', time.monotonic() - self._began)
            )
        origin = f'by {evidence.endpoint}' if is_served else 'by its own model'
        print_line(f'{robot.name} {origin:16} {" ".join(message.text.split())}')
        if evidence.fallback_reason:
            print_line(f'       ({evidence.fallback_reason})')

    def _wait(self, condition: Callable[[], bool], text: str) -> bool:
        status_line(text)
        while not condition():
            if time.monotonic() > self._end:
                status_line(f'out of time: {text}')
                return False
            self._session.spin_until(condition, 0.5)
            for robot in self._robots:
                robot.camera.check()
                robot.penguin.check()
        return True


def _robot(name: str, number: int, bundle: str, server: ServedEngine, folder: Path) -> RobotWatch:
    from penguin_ros.simulation.clips import HELD_OUT

    own = folder / name
    own.mkdir()
    remaps = {'__ns': f'/{name}', '/clock': f'/{name}/clock'}
    files = [simulation_parameters()]
    camera = {
        'seed': HELD_OUT[100 * number],
        'level': LEVEL,
        'real_time_factor': FACTOR,
        'topic': IMAGE_TOPIC,
    }
    node = {
        'model.bundle': bundle,
        'model.threads': 1,
        'rule.file': '',
        'cameras': [CAMERA],
        f'camera.{CAMERA}.topic': IMAGE_TOPIC,
        'remote.endpoints': f'{ENDPOINT}={server.url}',
        **REMOTE_PARAMETERS,
    }
    return RobotWatch(
        name,
        NodeProcess('sim_camera', own, camera, remaps, files),
        NodeProcess('penguin_node', own, node, remaps, files),
    )
