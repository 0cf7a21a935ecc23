# SPDX-License-Identifier: Apache-2.0
"""Chooses the quality of service of a camera's subscription.

What parameters `qos_overrides.<topic>.subscription.<policy>` say holds. Where they say nothing of
durability, it follows the publishers: a still that is latched only arrives when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from penguin_ros.ros.camera_input.observation import Publisher
from penguin_ros.ros.conversions.qos_overrides import (
    SUBSCRIPTION,
    is_overridden,
    overriding_options,
)
from penguin_ros.ros.conversions.topics import newest_frame_qos


@dataclass(frozen=True)
class SubscriptionQos:
    """A profile, and which of its policies parameters may override."""

    profile: QoSProfile
    options: QoSOverridingOptions


def subscription_qos(node: Node, topic: str, is_latched: bool) -> SubscriptionQos:
    """Returns the quality of service for a subscription to a resolved topic; `is_latched`: its
    publishers keep their last messages for those who come later.
    """
    opened = topic, SUBSCRIPTION
    profile = newest_frame_qos()
    if is_overridden(node, opened, 'durability'):
        return SubscriptionQos(profile, overriding_options())
    # A policy that may be overridden is declared as a parameter with its first value, which would
    # come back with each later subscription.
    policies = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY]
    if is_latched:
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        if not is_overridden(node, opened, 'reliability'):
            # Only reliable subscriptions get what was published before they came.
            profile.reliability = ReliabilityPolicy.RELIABLE
            policies.remove(QoSPolicyKind.RELIABILITY)
    return SubscriptionQos(profile, QoSOverridingOptions(policy_kinds=tuple(policies)))


def are_latched(publishers: Iterable[Publisher], topic: str, kind: str) -> bool:
    """Returns whether all publishers of a topic's type latch their messages."""
    latched = [
        publisher.is_latched
        for publisher in publishers
        if publisher.topic == topic and publisher.type == kind
    ]
    return bool(latched) and all(latched)
