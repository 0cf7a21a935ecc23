# SPDX-License-Identifier: Apache-2.0
"""Declares settings as ROS parameters: descriptors with text, unit, range and choices, errors that
name the parameter, and numbers that keep their declared type.
"""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    InvalidTopicNameException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from penguin_ros.errors import SettingError
from penguin_ros.settings import Setting, Value


class NumbersAsDeclared:
    """Goes before rclpy's Node among a node's base classes: a whole number that is given for a
    double is stored as a double, and a double without fraction that is given for an integer as an
    integer.

    `ros2 param set NODE clip.fps 2` and YAML send an integer, for which typed clients
    (`as_double()` in C++, rqt) would fail to read the parameter afterwards. The services of the
    parameters call these two methods too.
    """

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Sets parameters one by one, numbers in their declared types."""
        typed = [_as_declared(self, parameter) for parameter in parameter_list]
        results: list[SetParametersResult] = super().set_parameters(typed)  # type: ignore[misc]
        return results

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Sets all parameters or none, numbers in their declared types."""
        typed = [_as_declared(self, parameter) for parameter in parameter_list]
        return super().set_parameters_atomically(typed)  # type: ignore[misc]


def overrides_of(node: Node) -> dict[str, Parameter]:
    """Returns the values of the parameter files and the command line, which apply when parameters
    are declared; changes of the dict apply too.
    """
    # rclpy has no public access to the overrides a node was started with.
    overrides: dict[str, Parameter] = getattr(node, '_parameter_overrides', {})
    return overrides


def declare(node: Node, name: str, default: Any, descriptor: ParameterDescriptor) -> None:
    """Declares a parameter; SettingError when the value that the node was started with does not
    fit.
    """
    given = overrides_of(node)
    if name in given:
        given[name] = _typed(given[name], type(default))
    try:
        node.declare_parameter(name, default, descriptor)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise SettingError(
            f'parameter {name} is unusable', str(error), f'Meaning: {descriptor.description}'
        ) from error


def _as_declared(node: Any, parameter: Parameter) -> Parameter:
    """Returns a number in the type of the parameter that it is for; all else as it is."""
    if not node.has_parameter(parameter.name):
        return parameter
    return _typed(parameter, type(node.get_parameter(parameter.name).value))


def _typed(parameter: Parameter, kind: type) -> Parameter:
    value = parameter.value
    if kind is float and type(value) is int:
        return Parameter(parameter.name, value=float(value))
    if kind is int and type(value) is float and value.is_integer():
        return Parameter(parameter.name, value=int(value))
    return parameter


def setting_descriptor(
    default: Value, facts: Setting, when: str, is_read_only: bool = False
) -> ParameterDescriptor:
    """Describes a setting as a parameter; `when` is a sentence on when it may change."""
    unit = f' [{facts.unit}]' if facts.unit else ''
    descriptor = ParameterDescriptor(
        description=f'{facts.text}{unit} {when}',
        read_only=is_read_only,
        # What is no number is refused by our check, which names the parameter; rclpy would not.
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
