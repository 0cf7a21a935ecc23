# SPDX-License-Identifier: Apache-2.0
"""The parameters of camera nodes: declared with text and range, read once, checked. Knows no
pictures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    InvalidTopicNameException,
)
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from penguin_ros.errors import SettingError
from penguin_ros.settings import Setting, Value, checked, setting

ENCODINGS = ('rgb8', 'bgr8', 'mono8', 'rgba8', 'bgra8')


class WithTopic(Protocol):
    """A dataclass of settings, one of which names a topic."""

    @property
    def topic(self) -> str:
        """Topic of the raw pictures."""


Parameters = TypeVar('Parameters', bound=WithTopic)


@dataclass(frozen=True)
class CameraParameters:
    """Each field is a parameter; none changes while the node runs."""

    source: str = setting('', 'A video file, a folder of pictures, or a V4L2 device (/dev/video0).')
    topic: str = setting(
        'image', 'Topic of the raw pictures; the compressed ones go to <topic>/compressed.'
    )
    rate: float = setting(
        0.0,
        'Pictures per second; 0: as the source has them. A film keeps its speed, frames are left out or '
        'repeated; a folder shows the next picture each time.',
        unit='Hz',
        span=(0.0, 1000.0),
    )
    loop: bool = setting(
        True, 'Begin again at the end; stamps go on. Else the node ends with the source.'
    )
    width: int = setting(
        0,
        'Width of the pictures; 0: as in the source, or in proportion to height.',
        unit='pixels',
        span=(0, 16384),
    )
    height: int = setting(
        0,
        'Height of the pictures; 0: as in the source, or in proportion to width.',
        unit='pixels',
        span=(0, 16384),
    )
    frame_id: str = setting(
        'camera_optical_frame', 'Coordinate frame in the headers (z forward, x right, y down).'
    )
    encoding: str = setting('rgb8', 'Encoding of the raw pictures.', choices=ENCODINGS)
    jpeg_quality: int = setting(80, 'Quality of the compressed pictures.', span=(1, 100))


def camera_parameters(node: Node) -> CameraParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    return declared_parameters(node, CameraParameters)


def declared_parameters(node: Node, kind: type[Parameters]) -> Parameters:
    """Declares the fields of a dataclass as parameters and reads them; SettingError when one does
    not fit.
    """
    values: dict[str, Value] = {
        item.name: _declared(node, item.name, item.default, item.metadata['setting'])
        for item in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    parameters = kind(**values)
    try:
        validate_topic_name(parameters.topic)
    except InvalidTopicNameException as error:
        raise SettingError(
            f'topic = {parameters.topic!r}', ' '.join(str(error).split()), 'Name it like image'
        ) from error
    return parameters


def _declared(node: Node, name: str, default: Any, facts: Setting) -> Value:
    try:
        node.declare_parameter(name, default, _descriptor(default, facts))
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise SettingError(f'parameter {name}', str(error), f'Meaning: {facts.text}') from error
    return checked(name, node.get_parameter(name).value, type(default), facts)


def _descriptor(default: Any, facts: Setting) -> ParameterDescriptor:
    choices = ' One of ' + ', '.join(facts.choices) + '.' if facts.choices else ''
    unit = f' ({facts.unit})' if facts.unit else ''
    # A rate of 5 arrives as an integer, which a statically typed double refuses.
    descriptor = ParameterDescriptor(
        description=facts.text + choices + unit,
        read_only=True,
        dynamic_typing=isinstance(default, float),
    )
    if (
        facts.low is not None
        and facts.high is not None
        and isinstance(default, int)
        and not isinstance(default, bool)
    ):
        descriptor.integer_range = [
            IntegerRange(from_value=int(facts.low), to_value=int(facts.high), step=1)
        ]
    elif facts.low is not None and facts.high is not None and isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=facts.low, to_value=facts.high)
        ]
    return descriptor
