# SPDX-License-Identifier: Apache-2.0
"""Raw or compressed: what is chosen as publishers come and go."""

from __future__ import annotations

import pytest

from penguin_ros.ros.camera_input.discovery import PATIENCE_NS, TransportChoice

SECOND = 1_000_000_000
BOTH = {'raw', 'compressed'}


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_a_fixed_transport_is_never_left(transport):
    choice = TransportChoice(transport, 0)
    for now, published in ((0, set()), (9 * SECOND, BOTH), (99 * SECOND, BOTH - {transport})):
        assert choice.choose(published, None, now) == transport


def test_auto_takes_what_is_published_and_raw_when_both_are():
    assert TransportChoice('auto', 0).choose({'compressed'}, None, 1) == 'compressed'
    assert TransportChoice('auto', 0).choose({'raw'}, None, 1) == 'raw'
    assert TransportChoice('auto', 0).choose(BOTH, None, 1) == 'raw'


def test_auto_changes_when_the_publisher_disappears_and_stays_afterwards():
    choice = TransportChoice('auto', 0)
    assert choice.choose({'raw'}, 1, 2) == 'raw'
    assert choice.choose({'compressed'}, 1, 3) == 'compressed'
    assert choice.choose(BOTH, 4 * SECOND, 4 * SECOND) == 'compressed'
    assert choice.choose(set(), 4 * SECOND, 30 * SECOND) == 'compressed'


def test_auto_stays_while_frames_come():
    choice = TransportChoice('auto', 0)
    assert {choice.choose(BOTH, t * SECOND, t * SECOND) for t in range(100)} == {'raw'}


def test_auto_tries_the_other_one_when_no_frame_comes_less_and_less_often():
    choice, changes, current = TransportChoice('auto', 0), [], 'raw'
    for now in range(0, 300 * SECOND, SECOND // 2):
        if choice.choose(BOTH, None, now) != current:
            current = choice.current
            changes.append(now)
    gaps = [later - earlier for earlier, later in zip([0, *changes], changes, strict=False)]
    assert PATIENCE_NS < gaps[0] < PATIENCE_NS + SECOND
    assert gaps[1] > 1.8 * gaps[0] and gaps[2] > 1.8 * gaps[1] and max(gaps) < 62 * SECOND


def test_a_frame_restores_patience():
    choice = TransportChoice('auto', 0)
    assert choice.choose(BOTH, None, 4 * SECOND) == 'compressed'
    choice.choose(BOTH, 5 * SECOND, 5 * SECOND)
    assert choice.choose(BOTH, 5 * SECOND, 9 * SECOND) == 'raw'
