# SPDX-License-Identifier: Apache-2.0
"""How a console may be served: what would let others in is refused, with what to give instead."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def used(options: ConsoleOptions, use: Callable[[str], None]) -> None:
    """Serves, and runs `use` with the address on another thread."""
    failures: list[BaseException] = []
    users: list[threading.Thread] = []

    def run(address: str) -> None:
        try:
            use(address)
        except BaseException as error:  # told by the thread of the test
            failures.append(error)

    def on_ready(address: str) -> None:
        if not users:  # the next address comes when this one was used
            users.append(threading.Thread(target=run, args=(address,)))
            users[0].start()

    end = time.monotonic() + 60.0
    serve(options, on_ready, lambda: time.monotonic() > end or not users[0].is_alive())
    users[0].join(1.0)
    assert not users[0].is_alive() and not failures, failures


@pytest.mark.skipif(shutil.which('openssl') is None, reason='openssl makes the certificate')
@pytest.mark.usefixtures('ros_domain')
def test_with_files_for_tls_it_is_reached_by_https_alone(tmp_path: Path) -> None:
    key, certificate, port = tmp_path / 'key', tmp_path / 'certificate', free_port()
    words = 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1'
    words += f' -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key}'
    subprocess.run([*words.split(), '-out', str(certificate)], check=True, capture_output=True)

    def use(address: str) -> None:
        assert address.startswith(f'https://127.0.0.1:{port}/')
        jar = CookieJar()
        context = ssl.create_default_context(cafile=str(certificate))
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar)
        )
        assert b'penguin console' in opener.open(address, timeout=30).read()
        (cookie,) = jar
        assert cookie.secure
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(address.replace('https', 'http'), timeout=30)

    used(ConsoleOptions(port=port, certificate=certificate, key=key), use)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        options = ConsoleOptions(port=taken.getsockname()[1])
        with pytest.raises(SettingError, match='cannot be served') as caught:
            serve(options, print, lambda: True)
    assert '--port' in str(caught.value)


def test_files_that_are_no_certificate_are_told(tmp_path: Path) -> None:
    wrong = tmp_path / 'robot.pem'
    wrong.write_text('no certificate')
    with pytest.raises(SettingError, match='are no certificate and key'):
        serve(ConsoleOptions(certificate=wrong, key=wrong), print, lambda: True)
