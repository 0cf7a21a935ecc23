# SPDX-License-Identifier: Apache-2.0
"""Raw or compressed: what is chosen as publishers come and go."""

from __future__ import annotations

import pytest

from penguin_ros.ros.camera_input.discovery import PATIENCE_NS, Heard, TransportChoice

SECOND = 1_000_000_000
BOTH = {'raw', 'compressed'}


def heard(frame_ns=None, **more):
    return Heard(**{'arrival_ns': frame_ns, 'frame_ns': frame_ns, **more})


def changes_of(choice, published, hear, seconds):
    """The times at which the choice changes, when `hear(now, current)` says what is heard."""
    changes, current = [], choice.current
    for now in range(0, seconds * SECOND, SECOND // 2):
        if choice.choose(published, hear(now, current), now) != current:
            current = choice.current
            changes.append(now)
    return changes


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_a_fixed_transport_is_never_left(transport):
    choice = TransportChoice(transport, 0)
    for now, published in ((0, set()), (9 * SECOND, BOTH), (99 * SECOND, BOTH - {transport})):
        assert choice.choose(published, heard(), now) == transport


def test_auto_takes_what_is_published_and_raw_when_both_are():
    assert TransportChoice('auto', 0).choose({'compressed'}, heard(), 1) == 'compressed'
    assert TransportChoice('auto', 0).choose({'raw'}, heard(), 1) == 'raw'
    assert TransportChoice('auto', 0).choose(BOTH, heard(), 1) == 'raw'


def test_auto_changes_when_the_publisher_disappears_and_stays_afterwards():
    choice = TransportChoice('auto', 0)
    assert choice.choose({'raw'}, heard(1), 2) == 'raw'
    assert choice.choose({'compressed'}, heard(1), 3) == 'compressed'
    assert choice.choose(BOTH, heard(4 * SECOND), 4 * SECOND) == 'compressed'
    assert choice.choose(set(), heard(4 * SECOND), 30 * SECOND) == 'compressed'


@pytest.mark.parametrize('period', [1, 4, 8, 25])
def test_auto_decides_once_however_slow_the_camera(period):
    choice = TransportChoice('auto', 0)
    last = [0, None]

    def hear(now, current):
        """An image comes every `period` seconds, over whichever topic is subscribed to."""
        if now - last[0] >= period * SECOND:
            last[:] = [now, now]
        return heard(last[1])

    changes = changes_of(choice, BOTH, hear, 400)
    assert len(changes) <= 4 and not [now for now in changes if now > 2 * period * SECOND + 1]


def test_auto_tries_the_other_one_when_no_frame_comes_less_and_less_often():
    changes = changes_of(TransportChoice('auto', 0), BOTH, lambda now, current: heard(), 300)
    gaps = [later - earlier for earlier, later in zip([0, *changes], changes, strict=False)]
    assert PATIENCE_NS < gaps[0] < PATIENCE_NS + SECOND
    assert gaps[1] > 1.8 * gaps[0] and gaps[2] > 1.8 * gaps[1] and max(gaps) < 62 * SECOND


def test_auto_doubts_its_decision_only_when_the_middleware_loses_messages():
    for is_losing, current in ((False, 'raw'), (True, 'compressed')):
        choice = TransportChoice('auto', 0)
        choice.choose(BOTH, heard(SECOND), SECOND)
        lost = heard(SECOND, is_losing=is_losing)
        assert choice.choose(BOTH, lost, 20 * SECOND) == current


def test_auto_never_leaves_a_topic_whose_samples_are_no_colours():
    choice = TransportChoice('auto', 0)

    def hear(now, current):
        return Heard(arrival_ns=now, is_undefined=True)

    assert changes_of(choice, BOTH, hear, 300) == []


def test_auto_tries_the_other_one_once_where_no_image_could_be_used():
    choice = TransportChoice('auto', 0)
    changes = changes_of(choice, BOTH, lambda now, current: Heard(arrival_ns=now), 600)
    assert len(changes) == 1 and choice.current == 'compressed'
