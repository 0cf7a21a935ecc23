# SPDX-License-Identifier: Apache-2.0
"""What servers and networks do, and what a question that is asked of them comes to: the table of
docs/fleet.md.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.certificates import server_context, write_certificate
from support.stand_in_server import TEXT, StandInServer, closed_port, waited
from support.tcp_proxy import TcpProxy, Weather

from penguin_ros.errors import RemoteError
from penguin_ros.remote.breaker import BreakerState
from penguin_ros.remote.failure import (
    BROKEN_OFF,
    BUSY,
    DENIED,
    ILLEGIBLE,
    INSECURE,
    OTHER_MODEL,
    SERVER_FAULT,
    SLOW,
    UNREACHABLE,
)

SHORT = {'first_s': 1.0, 'deadline_s': 10.0, 'is_urged': True}

SERVER_FAULTS = [
    ('status-500', SERVER_FAULT, False),
    ('status-404', 'refused', False),
    ('status-429', BUSY, False),
    ('truncated', BROKEN_OFF, True),
    ('no-end', BROKEN_OFF, True),
    ('reset', BROKEN_OFF, True),
    ('stall', SLOW, False),
    ('stall-after-one', SLOW, True),
    ('not-json', ILLEGIBLE, False),
    ('not-sse', BROKEN_OFF, False),
    ('no-choices', ILLEGIBLE, False),
    ('huge', ILLEGIBLE, False),
    ('other-model', OTHER_MODEL, False),
    ('error-event', SERVER_FAULT, True),
    ('aborted', SERVER_FAULT, True),
]


@pytest.mark.parametrize(('fault', 'cause', 'has_text'), SERVER_FAULTS)
def test_a_fault_of_the_server_ends_the_question_with_a_named_error(
    fault: str, cause: str, has_text: bool, asker: Any
) -> None:
    with StandInServer(fault=fault) as server:
        first_s = 0.5 if fault == 'stall' else 20.0
        engines = asker(server.url, idle_timeout=2.0)
        asked = engines.ask(first_s=first_s, deadline_s=30.0, is_urged=True)
        answer = asked.wait()
        assert isinstance(answer.error, RemoteError) and asked.cause == cause
        assert bool(answer.text) == has_text == bool(asked.pieces)
        assert answer.text == ''.join(asked.pieces) != TEXT or fault in ('no-end', 'aborted')


@pytest.mark.parametrize(
    ('weather', 'cause'),
    [
        (Weather(is_black_hole=True), SLOW),
        (Weather(is_deaf=True), SLOW),
        (Weather(is_resetting=True), BROKEN_OFF),
        (Weather(delay_s=2.0), SLOW),
        (Weather(reset_after=450), BROKEN_OFF),
    ],
    ids=['black hole', 'half open', 'resets', '2 s late', 'reset in the answer'],
)
def test_a_fault_of_the_network_ends_the_question_in_time(
    weather: Weather, cause: str, asker: Any
) -> None:
    with StandInServer() as server, TcpProxy(server.port) as proxy:
        engines = asker(proxy.url, idle_timeout=0.3, check_period=3600.0)
        proxy.weather = weather
        begin = time.monotonic()
        asked = engines.ask(**SHORT)
        answer = asked.wait()
        assert isinstance(answer.error, RemoteError) and answer.failed[0].failure.cause == cause
        assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize(
    'weather',
    [Weather(delay_s=0.1), Weather(loss=0.01), Weather(loss=0.2, late_s=0.05)],
    ids=['100 ms', '1 % lost', '20 % lost'],
)
def test_a_bad_network_only_delays_an_answer(weather: Weather, asker: Any) -> None:
    with StandInServer('penguin') as server, TcpProxy(server.port) as proxy:
        proxy.weather = weather
        engines = asker(proxy.url)
        for _ in range(3):
            answer = engines.answer(first_s=10.0, deadline_s=20.0)
            assert answer.error is None and answer.text == TEXT


def test_a_server_that_was_silent_from_the_start_costs_no_more_than_its_time(asker: Any) -> None:
    with StandInServer() as server, TcpProxy(server.port) as proxy:
        proxy.weather = Weather(is_deaf=True)
        engines = asker(proxy.url, idle_timeout=30.0, start_s=0.0)
        begin = time.monotonic()
        asked = engines.ask(first_s=0.3, deadline_s=20.0, is_urged=True)
        assert asked.wait().error is not None and asked.cause == SLOW
        assert time.monotonic() - begin < 10.0


def test_a_file_of_no_certificates_costs_only_its_own_server(asker: Any, tmp_path: Path) -> None:
    (tmp_path / 'ca.pem').write_text('no certificate')
    with StandInServer() as server:
        url = f'https://127.0.0.1:{closed_port()},ca_file={tmp_path / "ca.pem"}'
        answer = asker(url, server.url).answer()
        assert answer.answerer.endpoint == 'b' and answer.text == TEXT


def test_a_server_that_misses_what_it_was_sent_costs_only_itself(asker: Any) -> None:
    with StandInServer('penguin', 'forgetful') as forgetful, StandInServer() as server:
        answer = asker(forgetful.url, server.url).answer()
        assert answer.answerer.endpoint == 'b' and answer.text == TEXT
        assert forgetful.asked == 2, 'sent again once'


def test_a_refused_connection_is_told_at_once(asker: Any) -> None:
    asked = asker(f'http://127.0.0.1:{closed_port()}').ask(is_urged=True)
    assert isinstance(asked.wait().error, RemoteError) and asked.cause == UNREACHABLE


def test_a_wrong_key_is_told_and_never_shown(asker: Any, tmp_path: Path) -> None:
    secret = tmp_path / 'key'
    secret.write_text('wrong-secret\n')
    with StandInServer(key='right-secret') as server:
        engines = asker(server.url, options=f',key_file={secret}')
        asked = engines.ask(is_urged=True)
        assert asked.cause == DENIED
        assert (
            'secret' not in f'{asked.wait()} {engines.status} {engines.engines._lines[0].endpoint}'
        )
        secret.write_text('right-secret')
        assert asker(server.url, options=f',key_file={secret}').answer().text == TEXT


@pytest.mark.parametrize(
    ('host', 'days', 'words'),
    [
        ('localhost', (-1, 1), 'self'),
        ('elsewhere.example', (-1, 1), 'match'),
        ('localhost', (-9, -8), 'expired'),
        ('localhost', (8, 9), 'not yet valid'),
    ],
    ids=['unknown', 'for another host', 'too old: or this clock is wrong', 'not yet valid'],
)
def test_certificates_that_do_not_hold_are_refused(
    host: str, days: tuple[int, int], words: str, asker: Any, tmp_path: Path
) -> None:
    write_certificate(tmp_path, host, *days)
    is_trusted = words != 'self'
    with StandInServer(tls=server_context(tmp_path)) as server:
        url = server.url.replace('127.0.0.1', 'localhost')
        options = f',ca_file={tmp_path / "cert.pem"}' if is_trusted else ''
        asked = asker(url, options=options).ask(is_urged=True)
        assert asked.cause == INSECURE and words in str(asked.wait().failed[-1])
        assert server.asked == 0


def test_a_certificate_that_holds_is_taken(asker: Any, tmp_path: Path) -> None:
    write_certificate(tmp_path, 'localhost', -1, 1)
    with StandInServer(tls=server_context(tmp_path)) as server:
        url = server.url.replace('127.0.0.1', 'localhost')
        assert asker(url, options=f',ca_file={tmp_path / "cert.pem"}').answer().text == TEXT


def test_plain_speech_to_a_tls_port_is_no_answer(asker: Any, tmp_path: Path) -> None:
    with StandInServer() as server:
        asked = asker(server.url.replace('http', 'https')).ask(is_urged=True)
        assert asked.cause == INSECURE


def test_the_next_server_answers_when_the_first_does_not(asker: Any) -> None:
    with StandInServer(fault='status-500') as bad, StandInServer() as good:
        answer = asker(bad.url, good.url).answer()
        assert answer.text == TEXT and answer.answerer.endpoint == 'b'
        assert answer.failures == 'a server fault: status 500: fault of the stand-in'


def test_a_slow_server_leaves_time_for_the_next(asker: Any) -> None:
    with StandInServer(fault='stall') as slow, StandInServer() as good:
        asked = asker(slow.url, good.url).ask(first_s=1.0, deadline_s=30.0)
        assert asked.wait().text == TEXT and asked.cause == SLOW


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(asker: Any) -> None:
    with StandInServer(fault='status-429') as server:
        server.retry_after = '30'
        engines = asker(server.url)
        assert engines.ask(is_urged=True).cause == BUSY
        again = engines.answer(is_urged=True)
        assert again.failed == () and 'busy for' in str(again.error)
        assert server.asked == 1 and engines.status.state is BreakerState.CLOSED


def test_a_question_that_nobody_else_answers_waits_for_a_busy_server(asker: Any) -> None:
    with StandInServer(fault='status-429') as server:
        asked = asker(server.url).ask(first_s=20.0, deadline_s=20.0)
        waited(lambda: server.asked == 1)
        server.fault = ''
        assert asked.wait().text == TEXT


def test_nothing_is_tried_again_after_the_first_piece(asker: Any) -> None:
    with StandInServer(fault='reset') as first, StandInServer() as second:
        asked = asker(first.url, second.url).ask()
        answer = asked.wait()
        assert 'broke off' in str(answer.error) and (first.asked, second.asked) == (1, 0)
        assert TEXT.startswith(answer.text) and answer.text


def test_a_cancelled_question_closes_its_connection(asker: Any) -> None:
    with StandInServer(fault='stall-after-one') as server:
        asked = asker(server.url, idle_timeout=60.0).ask(first_s=60.0, deadline_s=60.0)
        waited(lambda: asked.pieces)
        asked.call.cancel()
        waited(lambda: server.cancelled == 1)
        assert not asked.ended.is_set()
