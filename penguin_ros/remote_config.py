# SPDX-License-Identifier: Apache-2.0
"""The settings of remote engines, section `remote` of `config.py`."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.settings import live_setting, setting

ENGINES = ('local', 'remote', 'auto')
"""What answers: the node's own model, a remote engine, or a remote engine with the own model behind
it.
"""


@dataclass(frozen=True)
class RemoteConfig:
    """Servers that answer for this node, and how long it waits for them. See docs/fleet.md."""

    endpoints: str = setting(
        '',
        'Servers that answer what question.engine and caption.engine give them, in the order in '
        'which they are tried, separated by white space: NAME=URL, with more after commas: '
        'model=, dialect=penguin, vllm-video or images, key_file=, key_env=, ca_file=.',
    )
    allow_http: bool = setting(
        False,
        'Speak plain http with other machines too, where everybody on the way can read pictures '
        'and keys.',
    )
    jpeg_quality: int = live_setting(
        90, 'Quality of the JPEGs in which frames are sent.', span=(1, 100)
    )
    connect_timeout: float = live_setting(
        2.0, 'Longest time until a server takes a connection.', unit='s', span=(0.05, 3600.0)
    )
    first_timeout: float = live_setting(
        10.0,
        'Longest time until the first piece of an answer, over all servers that are tried; with '
        'the engine auto no more than half of the time that is left until the deadline.',
        unit='s',
        span=(0.05, 86400.0),
    )
    idle_timeout: float = live_setting(
        5.0, 'Longest time between two pieces of an answer.', unit='s', span=(0.05, 3600.0)
    )
    caption_timeout: float = live_setting(
        5.0,
        'A caption that takes servers longer than this is dropped: the robot has moved on.',
        unit='s',
        span=(0.05, 3600.0),
    )
    hedge_after: float = live_setting(
        0.0,
        'A server that has said nothing for this long is not waited for alone: the next is asked '
        'too, and the first to speak answers; 0: never.',
        unit='s',
        span=(0.0, 3600.0),
    )
    check_period: float = live_setting(
        2.0, 'Time between two checks of the health of a server.', unit='s', span=(0.05, 3600.0)
    )
    failures: int = live_setting(
        3,
        'After so many failures in a row nothing is asked of a server until it has recovered.',
        span=(1, 1000),
    )
    recovery: float = live_setting(
        5.0,
        'A server that failed is left alone for this long, and twice as long each time it fails '
        'again, up to a minute.',
        unit='s',
        span=(0.05, 60.0),
    )
    recovery_checks: int = live_setting(
        2,
        'So many good checks of its health in a row have to come before a server that failed is '
        'asked again, with one request at first.',
        span=(1, 1000),
    )
