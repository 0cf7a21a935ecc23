# SPDX-License-Identifier: Apache-2.0
"""A clock that has not begun is told after a grace, as a warning, and taken back when it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.node.surroundings import GRACE_NS, NodeWatch


class Node:
    """A node with a clock and a time source that the test sets, and a logger that records."""

    def __init__(self) -> None:
        self.is_simulated = True
        self.ros_ns = 0
        self.lines: list[tuple[str, str]] = []

    def get_parameter(self, name: str) -> Any:
        assert name == 'use_sim_time'
        return SimpleNamespace(value=self.is_simulated)

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.ros_ns))

    def get_name(self) -> str:
        return 'penguin'

    def get_namespace(self) -> str:
        return '/'

    def get_fully_qualified_name(self) -> str:
        return '/penguin'

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        return [('penguin', '/')]

    def get_logger(self) -> Any:
        return SimpleNamespace(
            **{
                level: lambda text, level=level: self.lines.append((level, text))
                for level in ('info', 'warning', 'error')
            }
        )


def test_a_simulation_that_starts_after_the_node_is_no_fault() -> None:
    node, now = Node(), [0]
    watch = NodeWatch(node, lambda: now[0])  # type: ignore[arg-type]
    for now[0] in range(0, GRACE_NS, NANOSECONDS):
        assert watch.warnings() == ()
    node.ros_ns = 1
    now[0] = 2 * GRACE_NS
    assert watch.warnings() == () and node.lines == []


@pytest.mark.parametrize('remedy', ['clock', 'parameter'])
def test_a_clock_that_never_begins_is_told_once_and_taken_back_once(remedy: str) -> None:
    node, now = Node(), [7]
    watch = NodeWatch(node, lambda: now[0])  # type: ignore[arg-type]
    watch.warnings()
    now[0] += GRACE_NS
    for _ in range(3):
        (text,) = watch.warnings()
        assert 'nothing arrives on /clock' in text
    assert [level for level, _ in node.lines] == ['warning']
    if remedy == 'clock':
        node.ros_ns = 2 * NANOSECONDS
    else:
        node.is_simulated = False
    assert watch.warnings() == watch.warnings() == ()
    assert [level for level, _ in node.lines] == ['warning', 'info']
    assert ('2.0 s' in node.lines[-1][1]) == (remedy == 'clock')


def test_the_grace_begins_again_with_each_time_that_the_clock_stands_at_zero() -> None:
    node, now = Node(), [0]
    watch = NodeWatch(node, lambda: now[0])  # type: ignore[arg-type]
    node.ros_ns = 1
    watch.warnings()
    node.ros_ns, now[0] = 0, 10 * GRACE_NS
    assert watch.warnings() == ()
