# SPDX-License-Identifier: Apache-2.0
"""Nobody comes in without a printed token."""

from __future__ import annotations

import pytest

from penguin_ros.http_site.site import Denied
from penguin_ros.web_console.access import MAX_SESSIONS, SESSION_S, Doorkeeper


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_token_works_once_and_the_next_one_is_told(clock: Clock) -> None:
    told: list[str] = []
    keeper = Doorkeeper(told.append, clock)
    keeper.renew_token()
    session = keeper.login(told[0])
    assert keeper.check_session(session)
    assert len(told) == 2 and told[0] != told[1]
    for token in (told[0], '', 'x' * 1000, 'é\udcff'):
        with pytest.raises(Denied):
            keeper.login(token)
    assert keeper.login(told[1]) != session


def test_without_a_token_made_nothing_logs_in_not_even_an_empty_one(clock: Clock) -> None:
    with pytest.raises(Denied):
        Doorkeeper(lambda token: None, clock).login('')


def test_a_lasting_secret_works_again_and_again(clock: Clock) -> None:
    keeper = Doorkeeper(lambda token: None, clock, 'from a file')
    assert keeper.login('from a file') != keeper.login('from a file')


def test_a_session_ends_after_a_day_and_the_oldest_leaves_when_there_are_too_many(
    clock: Clock,
) -> None:
    keeper = Doorkeeper(lambda token: None, clock, 'secret')
    first, *_ = sessions = [keeper.login('secret') for _ in range(MAX_SESSIONS + 1)]
    for gone in (first, None, '', 'made up'):
        with pytest.raises(Denied) as caught:
            keeper.check_session(gone)
        assert caught.value.status == 401
    keeper.check_session(sessions[-1])
    clock.now = SESSION_S + 1
    with pytest.raises(Denied):
        keeper.check_session(sessions[-1])
