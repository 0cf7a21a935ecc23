# SPDX-License-Identifier: Apache-2.0
"""An override of a quality of service is honoured, or told, or refused: none is without effect in
silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from penguin_ros.errors import SettingError
from penguin_ros.ros.conversions.qos_overrides import (
    PUBLISHER,
    SUBSCRIPTION,
    check_qos_overrides,
    is_overridden,
    overriding_options,
)

TOPIC = '/camera/image'
OPENED = {(TOPIC, SUBSCRIPTION), ('/penguin/caption', PUBLISHER)}


@pytest.fixture
def context(ros_domain: object) -> Iterator[Any]:
    own = rclpy.Context()
    rclpy.init(context=own)
    yield own
    rclpy.shutdown(context=own)


def with_override(context: Any, name: str, value: object) -> Node:
    given = [Parameter(f'qos_overrides.{name}', value=value)]
    return rclpy.create_node('n', context=context, parameter_overrides=given)


@pytest.mark.parametrize(
    ('policy', 'value'),
    [
        ('durability', 'transient_local'),
        ('reliability', 'reliable'),
        ('history', 'keep_all'),
        ('depth', 7),
    ],
)
def test_each_policy_that_is_offered_reaches_the_subscription(
    context: Any, policy: str, value: object
) -> None:
    node = with_override(context, f'{TOPIC}.subscription.{policy}', value)
    assert check_qos_overrides(node, OPENED) == []
    assert is_overridden(node, (TOPIC, SUBSCRIPTION), policy)
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    options = overriding_options()
    node.create_subscription(  # rclpy reads the callback's signature, which print lacks in 3.10
        Image, TOPIC, lambda message: None, profile, qos_overriding_options=options
    )
    found = getattr(profile, policy)
    assert (found if policy == 'depth' else found.name.lower()) == value
    node.destroy_node()


def test_without_an_override_the_profile_stays(context: Any) -> None:
    node = rclpy.create_node('n', context=context)
    profile = QoSProfile(depth=3)
    node.create_publisher(Image, TOPIC, profile, qos_overriding_options=overriding_options())
    assert (profile.depth, profile.durability) == (3, DurabilityPolicy.VOLATILE)
    assert not is_overridden(node, (TOPIC, PUBLISHER), 'durability')
    node.destroy_node()


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        (f'{TOPIC}.subscription.durability', 'latched', 'transient_local'),
        (f'{TOPIC}.subscription.reliability', 1, 'best_effort'),
        (f'{TOPIC}.subscription.depth', 'ten', 'whole number'),
        (f'{TOPIC}.subscription.deadline', 100, 'cannot be honoured'),
        ('/penguin/caption.publisher.lifespan', 100, 'cannot be honoured'),
    ],
)
def test_what_a_topic_cannot_have_is_refused(
    context: Any, name: str, value: object, words: str
) -> None:
    node = with_override(context, name, value)
    with pytest.raises(SettingError) as error:
        check_qos_overrides(node, OPENED)
    assert name in str(error.value) and words in str(error.value)
    node.destroy_node()


@pytest.mark.parametrize(
    'name',
    [
        'camera/image.subscription.durability',
        '/camera/imag.subscription.durability',
        f'{TOPIC}.publisher.durability',
        f'{TOPIC}.durability',
    ],
)
def test_what_no_topic_takes_is_told_with_those_that_do(context: Any, name: str) -> None:
    node = with_override(context, name, 'transient_local')
    (warning,) = check_qos_overrides(node, OPENED)
    assert name in warning and f'qos_overrides.{TOPIC}.subscription.<policy>' in warning
    node.destroy_node()


def test_topics_that_rclpy_opens_are_none_of_ours(context: Any) -> None:
    node = with_override(context, '/clock.subscription.depth', 5)
    assert check_qos_overrides(node, OPENED) == []
    node.destroy_node()
