# SPDX-License-Identifier: Apache-2.0
"""What the page says of a fault: in words, with the command that mends it."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from penguin_msgs.msg import Status

from penguin_ros.ros.console_node.remedies import remedy, silence_in_words, status_in_words


@pytest.mark.parametrize(
    ('name', 'message', 'values', 'command'),
    [
        ('/eye: model', 'not configured. Type: ros2 a && ros2 b', {}, 'ros2 a && ros2 b'),
        ('/eye: model', 'it hangs. Type: ros2 a; set it, then', {}, 'ros2 a'),
        (
            '/eye: camera front',
            'waiting for /front: no publisher',
            {'cause': 'no_publisher', 'topic': '/front'},
            'ros2 topic info -v /front',
        ),
        (
            '/eye: camera front',
            'comes every 9.0 s; set watch.stale_after to 18 s',
            {'cause': 'slow', 'topic': '/front'},
            'ros2 param set /eye watch.stale_after 18.0',
        ),
        (
            '/eye: camera front',
            'the last 3 images could not be used',
            {'cause': 'encoding', 'topic': '/front'},
            'ros2 topic echo --once --no-arr /front',
        ),
        ('/eye: rules', 'evaluated too rarely: box', {}, 'penguin rules list --node /eye'),
        ('/eye: rule box', 'front: ACTIVE', {}, 'penguin rules list --node /eye'),
        (
            '/memory: pose',
            "no poses: No module named 'tf2_msgs'",
            {},
            'sudo apt install ros-$ROS_DISTRO-tf2-msgs',
        ),
        ('/memory: store', 'the memory is not written', {'folder': '/data'}, 'df -h /data'),
        ('/other: motor', 'hot', {}, 'penguin doctor'),
    ],
)
def test_each_fault_has_its_command_and_what_is_well_has_none(
    name: str, message: str, values: dict[str, str], command: str
) -> None:
    assert remedy(name, 1, message, values) == command
    assert remedy(name, 0, message, values) == ''


@pytest.mark.parametrize(
    ('fields', 'level', 'words', 'command'),
    [
        ({'lifecycle_state': 'active', 'is_captioning_enabled': True}, 0, '3 captions', ''),
        (
            {'lifecycle_state': 'active'},
            1,
            'captions are switched off',
            'ros2 service call /eye/enable std_srvs/srv/SetBool "{data: true}"',
        ),
        (
            {'lifecycle_state': 'unconfigured'},
            1,
            'it is unconfigured and answers no question',
            'ros2 lifecycle set /eye configure && ros2 lifecycle set /eye activate',
        ),
    ],
)
def test_a_status_is_told_in_words_with_what_switches_on_what_is_off(
    fields: dict[str, object], level: int, words: str, command: str
) -> None:
    status = Status(captions_published=3, last_error_message='it failed', **fields)
    told = status_in_words('/eye', status)
    assert (told['level'], told['remedy']) == (level, command)
    assert words in told['message'] and ['last error', 'it failed'] in told['values']


def test_a_node_that_says_nothing_is_told_with_what_finds_out_why() -> None:
    told = silence_in_words('/eye', 7.2)
    assert (told['level'], told['remedy']) == (2, 'penguin doctor') and '7 s' in told['message']
