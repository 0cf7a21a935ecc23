# SPDX-License-Identifier: Apache-2.0
"""A server goes by its own names only, and no other site's page may talk to it."""

from __future__ import annotations

import pytest

from penguin_ros.http_site.site import Denied, is_loopback, site_of

LOOPBACK = site_of('127.0.0.1', 8080)


@pytest.mark.parametrize(
    'host', ['localhost:8080', '127.0.0.1:8080', '[::1]:8080', 'LocalHost:8080']
)
def test_a_loopback_server_goes_by_the_names_of_the_loopback(host: str) -> None:
    LOOPBACK.check_host(host)
    LOOPBACK.check_origin(f'http://{host}')


def test_a_server_on_another_address_of_the_loopback_goes_by_that_too() -> None:
    site_of('127.0.0.2', 8080).check_host('127.0.0.2:8080')


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


@pytest.mark.parametrize(
    'origin', ['http://localhost:3000', 'http://127.0.0.1', 'http://[::1]:80', 'http://[']
)
def test_beside_a_proxy_another_server_of_the_loopback_is_still_another_site(origin: str) -> None:
    site = site_of('127.0.0.1', 8080, ['robot.example'])
    site.check_origin('http://localhost:8080')
    with pytest.raises(Denied):
        site.check_origin(origin)


@pytest.mark.parametrize(
    ('bind', 'host'), [('127.0.0.2', '127.0.0.2'), ('Robot.local', 'robot.local')]
)
def test_a_server_goes_by_the_address_that_it_listens_on(bind: str, host: str) -> None:
    site_of(bind, 8080).check_host(f'{host}:8080')


def test_addresses_that_others_can_reach_are_no_loopback() -> None:
    assert is_loopback('127.0.0.1') and is_loopback('::1') and is_loopback('localhost')
    assert not any(map(is_loopback, ('0.0.0.0', '::', '192.168.1.4', 'robot')))
