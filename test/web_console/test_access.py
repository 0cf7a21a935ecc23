# SPDX-License-Identifier: Apache-2.0
"""Nobody comes in without a printed token, by another name, or from another site's page."""

from __future__ import annotations

import pytest

from penguin_ros.web_console.access import (
    MAX_SESSIONS,
    SESSION_S,
    Denied,
    Doorkeeper,
    is_loopback,
    site_of,
)

LOOPBACK = site_of('127.0.0.1', 8080)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    'host', ['localhost:8080', '127.0.0.1:8080', '[::1]:8080', 'LocalHost:8080']
)
def test_a_loopback_server_goes_by_the_names_of_the_loopback(host: str) -> None:
    LOOPBACK.check_host(host)
    LOOPBACK.check_origin(f'http://{host}')


@pytest.mark.parametrize(
    'host',
    [
        None,
        '',
        'localhost',
        'localhost:80',
        'localhost:8080x',
        'localhost:٨٠٨٠',
        'evil.example:8080',
        'localhost.evil.example:8080',
        '127.0.0.1.nip.io:8080',
        'localhost:8080, evil.example',
        'evil@localhost:8080',
    ],
)
def test_a_name_that_is_not_ours_is_refused(host: str | None) -> None:
    with pytest.raises(Denied) as caught:
        LOOPBACK.check_host(host)
    assert caught.value.status == 421


@pytest.mark.parametrize(
    'origin',
    [
        None,
        'null',
        'file://',
        'http://evil.example',
        'http://localhost:8081',
        'http://localhost:8080.evil.example',
        'http://localhost:8080/x',
        'ftp://localhost:8080',
        'http://evil.example:8080@localhost:8080',
    ],
)
def test_a_page_of_another_site_is_refused(origin: str | None) -> None:
    with pytest.raises(Denied) as caught:
        LOOPBACK.check_origin(origin)
    assert caught.value.status == 403


def test_a_proxy_is_told_by_name_and_may_have_any_port() -> None:
    site = site_of('127.0.0.1', 8080, ['robot.example'])
    site.check_host('robot.example')
    site.check_origin('https://robot.example')
    with pytest.raises(Denied):
        site.check_host('other.example')


def test_addresses_that_others_can_reach_are_no_loopback() -> None:
    assert is_loopback('127.0.0.1') and is_loopback('::1') and is_loopback('localhost')
    assert not any(map(is_loopback, ('0.0.0.0', '::', '192.168.1.4', 'robot')))


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
