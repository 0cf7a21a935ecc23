# SPDX-License-Identifier: Apache-2.0
"""Declares settings as ROS parameters: descriptors with text, unit, range and choices, and errors
that name the parameter.
"""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    InvalidTopicNameException,
)
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from penguin_ros.errors import SettingError
from penguin_ros.settings import Setting, Value


def declare(node: Node, name: str, default: Any, descriptor: ParameterDescriptor) -> None:
    """Declares a parameter; SettingError when the value that the node was started with does not
    fit.
    """
    try:
        node.declare_parameter(name, default, descriptor)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise SettingError(
            f'parameter {name} is unusable', str(error), f'Meaning: {descriptor.description}'
        ) from error


def setting_descriptor(
    default: Value, facts: Setting, when: str, is_read_only: bool = False
) -> ParameterDescriptor:
    """Describes a setting as a parameter; `when` is a sentence on when it may change."""
    unit = f' [{facts.unit}]' if facts.unit else ''
    descriptor = ParameterDescriptor(
        description=f'{facts.text}{unit} {when}',
        read_only=is_read_only,
        # `ros2 param set NODE clip.fps 2` sends an integer, which a statically typed double
        # refuses.
        dynamic_typing=isinstance(default, float),
    )
    if facts.choices:
        descriptor.additional_constraints = 'one of ' + ', '.join(facts.choices)
    if facts.low is None or facts.high is None or isinstance(default, (bool, str)):
        return descriptor
    if isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(facts.low), to_value=float(facts.high))
        ]
    else:
        descriptor.integer_range = [
            IntegerRange(from_value=int(facts.low), to_value=int(facts.high), step=1)
        ]
    return descriptor


def checked_topic(name: str, value: object) -> str:
    """Returns the topic that the parameter `name` holds; SettingError when it cannot be one."""
    try:
        validate_topic_name(str(value))
    except InvalidTopicNameException as error:
        raise SettingError(
            f'{name} = {value!r}', ' '.join(str(error).split()), 'Name it like camera/image'
        ) from error
    return str(value)
