# SPDX-License-Identifier: Apache-2.0
"""The parameters of camera nodes: declared with text and range, read once, checked."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rclpy.node import Node

from penguin_ros.ros.camera_node.image_publisher import ENCODINGS
from penguin_ros.ros.conversions.parameters import (
    checked_topic,
    declare,
    overrides_of,
    setting_descriptor,
)
from penguin_ros.ros.conversions.qos_overrides import PUBLISHER, check_qos_overrides
from penguin_ros.ros.conversions.topics import transport_topics
from penguin_ros.settings import Setting, Value, checked, setting

TOPICS = frozenset({'topic', 'info_topic'})
NEARNESS = 0.75  # how like a name is that is taken for a slip; 1 is equal


class WithTopic(Protocol):
    """A dataclass of settings, one of which names a topic."""

    @property
    def topic(self) -> str:
        """Topic of the raw images."""


Parameters = TypeVar('Parameters', bound=WithTopic)


@dataclass(frozen=True)
class CameraParameters:
    """Each field is a parameter; none changes while the node runs."""

    source: str = setting('', 'A video file, a folder of images, or a V4L2 device (/dev/video0).')
    topic: str = setting(
        'image', 'Topic of the raw images; the compressed ones go to <topic>/compressed.'
    )
    rate: float = setting(
        0.0,
        'Images per second; 0 keeps the rate of the source. A video keeps its speed, its frames '
        'are left out or repeated; a folder shows the next image each time.',
        unit='Hz',
        span=(0.0, 1000.0),
    )
    loop: bool = setting(
        True,
        'Starts again at the end, and stamps go on. Otherwise the node ends with the source.',
    )
    width: int = setting(
        0,
        'Width of the images; 0 keeps that of the source, or follows height in proportion.',
        unit='pixels',
        span=(0, 16384),
    )
    height: int = setting(
        0,
        'Height of the images; 0 keeps that of the source, or follows width in proportion.',
        unit='pixels',
        span=(0, 16384),
    )
    frame_id: str = setting(
        'camera_optical_frame', 'Coordinate frame in the headers (z forward, x right, y down).'
    )
    encoding: str = setting('rgb8', 'Encoding of the raw images.', choices=ENCODINGS)
    jpeg_quality: int = setting(80, 'JPEG quality of the compressed images.', span=(1, 100))


def camera_parameters(node: Node) -> CameraParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    return declared_parameters(node, CameraParameters)


def declared_parameters(node: Node, kind: type[Parameters]) -> Parameters:
    """Declares the fields of a dataclass as parameters and reads them.

    SettingError when one does not fit.
    """
    values: dict[str, Value] = {
        item.name: _declared(node, item.name, item.default, item.metadata['setting'])
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    parameters = kind(**values)
    for name in TOPICS.intersection(values):
        checked_topic(name, values[name])
    for warning in _unread(node, values):
        node.get_logger().warning(warning)
    return parameters


def _unread(node: Node, values: Mapping[str, Value]) -> list[str]:
    """Returns a sentence for each parameter that the node was started with and that looks like a
    slip, and for each quality of service that nothing here takes.

    A parameter file is often that of several nodes, so that a name which is like none stays untold.
    """
    topics = [
        *transport_topics(node, str(values['topic'])).values(),
        *(str(values[name]) for name in TOPICS.intersection(values) if name != 'topic'),
    ]
    opened = {(node.resolve_topic_name(topic), PUBLISHER) for topic in topics}
    slips = {
        name: near[0]
        for name in overrides_of(node)
        if name not in values and (near := difflib.get_close_matches(name, values, 1, NEARNESS))
    }
    return [
        *(f'nothing reads the parameter {name}. Did you mean {slips[name]}?' for name in slips),
        *check_qos_overrides(node, opened),
    ]


def _declared(node: Node, name: str, default: Any, facts: Setting) -> Value:
    when = 'Cannot change while the node runs.'
    declare(node, name, default, setting_descriptor(default, facts, when, is_read_only=True))
    return checked(name, node.get_parameter(name).value, type(default), facts)
