# SPDX-License-Identifier: Apache-2.0
"""The parameters of the simulated camera."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node

from penguin_ros.ros.camera_node.image_publisher import ENCODINGS
from penguin_ros.ros.camera_node.parameters import declared_parameters
from penguin_ros.ros.conversions.topics import IMAGE_TOPIC, INFO_TOPIC, OPTICAL_FRAME
from penguin_ros.settings import setting

SIMULATED = 'simulated'
WALL = 'wall'


@dataclass(frozen=True)
class SimCameraParameters:
    """Each field is a parameter; none changes while the node runs."""

    scene: str = setting(
        '', 'A scene as a JSON file, shown again and again; empty shows random scenes.'
    )
    seed: int = setting(
        1, 'Seed of the first random scene; the next ones follow it.', span=(0, 2**31 - 1)
    )
    level: int = setting(
        3,
        'Kind of random scenes. 1: one to three things that stand still; 2: some move; 3: up to '
        'four things, some come or leave, the camera moves, and everything looks more varied.',
        span=(1, 3),
    )
    scenes: int = setting(
        0, 'Number of scenes, after which the node ends; 0: no end.', span=(0, 1_000_000)
    )
    seconds: float = setting(
        3.5,
        'How long a random scene is shown; its motion is clear when all of it is watched. A scene '
        'from a file has its own length.',
        unit='s',
        span=(0.5, 3600.0),
    )
    pause: float = setting(
        4.0,
        'Time without images between two scenes. When it is as long as a clip of the node, no clip '
        'holds images of two scenes.',
        unit='s',
        span=(0.0, 3600.0),
    )
    rate: float = setting(
        10.0, "Images per second of the world's time.", unit='Hz', span=(0.1, 240.0)
    )
    width: int = setting(168, 'Width of the images.', unit='pixels', span=(28, 4096))
    height: int = setting(112, 'Height of the images.', unit='pixels', span=(28, 4096))
    clock: str = setting(
        SIMULATED,
        'simulated: the world has its own time, published on /clock for nodes with use_sim_time; '
        'wall: stamps are the time of this node, and nothing is published on /clock.',
        choices=(SIMULATED, WALL),
    )
    clock_start: float = setting(
        1.0, 'Simulated time at the start and after a reset.', unit='s', span=(0.001, 1e9)
    )
    clock_rate: float = setting(
        50.0, 'Messages on /clock per real second.', unit='Hz', span=(1.0, 1000.0)
    )
    real_time_factor: float = setting(1.0, 'Simulated seconds per real second.', span=(0.01, 100.0))
    topic: str = setting(
        IMAGE_TOPIC, 'Topic of the raw images; the compressed ones go to <topic>/compressed.'
    )
    info_topic: str = setting(INFO_TOPIC, "Topic of the camera's calibration.")
    frame_id: str = setting(
        OPTICAL_FRAME, 'Coordinate frame in the headers (z forward, x right, y down).'
    )
    encoding: str = setting('rgb8', 'Encoding of the raw images.', choices=ENCODINGS)
    jpeg_quality: int = setting(90, 'JPEG quality of the compressed images.', span=(1, 100))


def sim_camera_parameters(node: Node) -> SimCameraParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    return declared_parameters(node, SimCameraParameters)
