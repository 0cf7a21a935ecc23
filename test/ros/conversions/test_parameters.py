# SPDX-License-Identifier: Apache-2.0
"""Numbers keep the type that their parameter was declared with, however they are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from penguin_ros.ros.conversions.parameters import (
    NumbersAsDeclared,
    declare,
    setting_descriptor,
)
from penguin_ros.settings import Setting


class Typed(NumbersAsDeclared, Node):
    """A node with a double, an integer, a text and a truth value."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__('typed', **node_arguments)
        for name, default in (('rate', 1.0), ('count', 1), ('text', 'a'), ('flag', True)):
            facts = Setting('What it is.', low=0, high=100)
            declare(self, name, default, setting_descriptor(default, facts, 'Now.'))


@pytest.fixture
def context(ros_domain: object) -> Iterator[Any]:
    own = rclpy.Context()
    rclpy.init(context=own)
    yield own
    rclpy.shutdown(context=own)


def described(node: Node, name: str) -> tuple[object, Parameter.Type]:
    parameter = node.get_parameter(name)
    return parameter.value, parameter.type_


def test_an_integer_in_a_parameter_file_for_a_double_is_stored_as_a_double(context: Any) -> None:
    given = [Parameter('rate', value=5), Parameter('count', value=3.0)]
    node = Typed(context=context, parameter_overrides=given)
    assert described(node, 'rate') == (5.0, Parameter.Type.DOUBLE)
    assert described(node, 'count') == (3, Parameter.Type.INTEGER)
    node.destroy_node()


@pytest.mark.parametrize('is_atomic', [True, False])
def test_a_number_that_is_set_keeps_the_declared_type(context: Any, is_atomic: bool) -> None:
    node = Typed(context=context)
    wanted = [Parameter('rate', value=2), Parameter('count', value=7.0)]
    if is_atomic:
        assert node.set_parameters_atomically(wanted).successful
    else:
        assert all(result.successful for result in node.set_parameters(wanted))
    assert described(node, 'rate') == (2.0, Parameter.Type.DOUBLE)
    assert described(node, 'count') == (7, Parameter.Type.INTEGER)
    message = node.get_parameter('rate').to_parameter_msg()
    assert message.value.double_value == 2.0, 'what as_double() of a C++ client reads'
    node.destroy_node()


@pytest.mark.parametrize(
    ('name', 'value'), [('count', 2.5), ('count', True), ('text', 5), ('flag', 1), ('rate', 1000)]
)
def test_what_does_not_fit_is_refused_as_before(context: Any, name: str, value: object) -> None:
    node = Typed(context=context)
    before = described(node, name)
    assert not node.set_parameters([Parameter(name, value=value)])[0].successful
    assert described(node, name) == before
    node.destroy_node()
