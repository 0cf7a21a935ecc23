# SPDX-License-Identifier: Apache-2.0
"""Where hedging is set, a second server is asked when the first says nothing."""

from __future__ import annotations

from typing import Any

from support.stand_in_server import TEXT, StandInServer, waited

from penguin_ros.remote.breaker import BreakerState

PATIENT = {'first_s': 20.0, 'deadline_s': 20.0}


def test_the_server_that_speaks_first_answers_and_the_other_is_given_up(asker: Any) -> None:
    with StandInServer(fault='stall') as slow, StandInServer() as quick:
        asked = asker(slow.url, quick.url, hedge_after=0.2).ask(**PATIENT)
        answer = asked.wait()
        assert (answer.text, answer.answerer.endpoint) == (TEXT, 'b')
        assert ''.join(asked.pieces) == TEXT
        waited(lambda: slow.cancelled == 1)


def test_a_server_that_speaks_in_time_is_asked_alone(asker: Any) -> None:
    with StandInServer(piece_seconds=0.1) as first, StandInServer() as second:
        answer = asker(first.url, second.url, hedge_after=0.3).answer(**PATIENT)
        assert (answer.text, answer.answerer.endpoint) == (TEXT, 'a')
        assert (first.asked, second.asked) == (1, 0)


def test_a_slow_server_that_speaks_after_all_loses_to_none(asker: Any) -> None:
    with StandInServer(fault='stall') as slow, StandInServer(fault='status-500') as bad:
        engines = asker(slow.url, bad.url, hedge_after=0.2, idle_timeout=0.5)
        answer = engines.answer(first_s=1.0, deadline_s=3.0, is_urged=True)
        assert {each.endpoint for each in answer.failed} == {'a', 'b'}
        assert answer.error is not None and answer.text == ''


def test_the_text_of_the_loser_is_never_shown(asker: Any) -> None:
    with StandInServer(piece_seconds=0.05) as first, StandInServer(piece_seconds=0.05) as second:
        engines = asker(first.url, second.url, hedge_after=0.001)
        for _ in range(3):
            asked = engines.ask(**PATIENT)
            assert asked.wait().text == TEXT == ''.join(asked.pieces)
        assert all(each.state is BreakerState.CLOSED for each in engines.engines.status())


def test_a_server_that_may_be_tried_and_was_not_needed_may_still_be_tried(asker: Any) -> None:
    with StandInServer() as first, StandInServer() as second:
        second.health = 500
        engines = asker(first.url, second.url, hedge_after=10.0)
        waited(lambda: engines.engines.status()[1].state is BreakerState.OPEN)
        second.health = 200
        waited(lambda: engines.engines.status()[1].state is BreakerState.TRIAL)
        assert engines.answer(**PATIENT).answerer.endpoint == 'a'
        first.fault = 'status-500'
        assert engines.answer(**PATIENT).answerer.endpoint == 'b'


def test_without_the_setting_nobody_is_asked_twice(asker: Any) -> None:
    with StandInServer(piece_seconds=0.1) as first, StandInServer() as second:
        assert asker(first.url, second.url).answer(**PATIENT).text == TEXT
        assert second.asked == 0
