# SPDX-License-Identifier: Apache-2.0
"""What is advised in each lifecycle state can be typed there, and leads where it says."""

from __future__ import annotations

import re

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_ros.ros.node.lifecycle_advice import to_change, to_reload, typed, without_model

NEXT = {
    ('unconfigured', 'configure'): 'inactive',
    ('inactive', 'activate'): 'active',
    ('active', 'deactivate'): 'inactive',
    ('inactive', 'cleanup'): 'unconfigured',
}


def followed(text: str, state: str) -> str:
    """The state after the commands of a text; KeyError for one that is impossible there."""
    for node, transition in re.findall(r'ros2 lifecycle set (\S+) (\w+)', text):
        assert node == '/robot/eye'
        state = NEXT[state, transition]
    return state


@pytest.mark.parametrize('state', ['active', 'inactive'])
def test_the_way_to_a_locked_parameter_ends_unconfigured(state: str) -> None:
    assert followed(to_change('/robot/eye', state), state) == 'unconfigured'


@pytest.mark.parametrize('state', ['active', 'inactive'])
def test_the_way_to_a_model_that_is_loaded_again_ends_active(state: str) -> None:
    assert followed(to_reload('/robot/eye', state), state) == 'active'


def test_the_way_to_an_answer_ends_active() -> None:
    assert followed(str(without_model('/robot/eye', 'unconfigured')), 'unconfigured') == 'active'


@pytest.mark.parametrize('state', ['finalized', 'configuring', 'cleaningup', 'shuttingdown'])
def test_where_no_transition_helps_none_is_advised(state: str) -> None:
    texts = str(without_model('/robot/eye', state)), to_change('/robot/eye', state)
    assert not any('ros2 lifecycle' in text for text in texts)
    assert ('Start the node again' in texts[0]) == (state == 'finalized')


def test_several_transitions_are_one_line_for_a_shell() -> None:
    assert typed('/a', 'configure', 'activate') == (
        'ros2 lifecycle set /a configure && ros2 lifecycle set /a activate'
    )
