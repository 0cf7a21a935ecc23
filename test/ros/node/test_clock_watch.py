# SPDX-License-Identifier: Apache-2.0
"""Two sources of /clock and a paused one are named, once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from penguin_ros.ros.node.clock_watch import ClockWatch

SECOND = 10**9


class StandIn:
    """A node whose clock and graph are set by hand."""

    def __init__(self, use_sim_time=True, sources=('/player',)):
        self.use_sim_time = use_sim_time
        self.sources = list(sources)
        self.ros_ns = 100 * SECOND
        self.steady_ns = 0
        self.lines = []
        self.watch = ClockWatch(self, lambda: self.steady_ns)

    def get_logger(self):
        return SimpleNamespace(warning=self.lines.append)

    def get_parameter(self, name):
        return SimpleNamespace(value=self.use_sim_time)

    def resolve_topic_name(self, name):
        return name

    def get_publishers_info_by_topic(self, topic):
        return [SimpleNamespace(node_name=name[1:], node_namespace='/') for name in self.sources]

    def get_clock(self):
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=self.ros_ns))

    def run(self, seconds, rate=1.0):
        """Lets time pass, and returns what is warned of at its end."""
        for _ in range(seconds):
            self.steady_ns += SECOND
            self.ros_ns += round(rate * SECOND)
            found = self.watch.warnings()
        return found


def test_a_clock_that_runs_is_all_right_however_slowly():
    assert StandIn().run(20) == () and StandIn().run(20, 0.01) == ()


def test_a_clock_that_stands_still_is_named_with_the_time_until_it_goes_on():
    node = StandIn()
    node.run(5)
    (text,) = node.run(12, 0)
    assert '/clock has stood still for 12 s' in text and 'paused' in text
    assert node.run(2) == () and len(node.lines) == 1


def test_a_clock_that_has_not_begun_is_not_this_fault():
    node = StandIn()
    node.ros_ns = 0
    assert node.run(10, 0) == ()


@pytest.mark.parametrize('sources', [('/player', '/player'), ('/gazebo', '/player', '/b')])
def test_all_sources_of_the_clock_are_named(sources):
    node = StandIn(sources=sources)
    (text,) = node.run(10)
    assert text.startswith(f'{len(sources)} publishers on /clock: {" and ".join(sorted(sources))}')
    assert node.lines == [text]


def test_without_simulated_time_the_clock_is_nobodys_business():
    assert StandIn(use_sim_time=False, sources=('/a', '/b')).run(10, 0) == ()
