# SPDX-License-Identifier: Apache-2.0
"""How a console may be served: what would let others in is refused, with what to give instead."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('aiohttp', reason='the console needs aiohttp')

from penguin_ros.errors import SettingError
from penguin_ros.ros.console_node.main import ConsoleOptions, check, serve


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (ConsoleOptions('192.168.1.4'), 'without TLS'),
        (ConsoleOptions('0.0.0.0', certificate=Path('c'), key=Path('k')), '--name HOST'),
        (ConsoleOptions(certificate=Path('c')), '--tls-key'),
    ],
)
def test_what_would_let_others_in_is_refused(options: ConsoleOptions, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        check(options)
    assert words in str(caught.value)


def test_a_reverse_proxy_that_is_told_and_tls_are_let_through() -> None:
    check(ConsoleOptions('0.0.0.0', names=('robot.local',)))
    check(ConsoleOptions('192.168.1.4', certificate=Path('c'), key=Path('k')))
    check(ConsoleOptions('::1'))


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        options = ConsoleOptions(port=taken.getsockname()[1])
        with pytest.raises(SettingError, match='cannot be served') as caught:
            serve(options, print, lambda: True)
    assert '--port' in str(caught.value)
