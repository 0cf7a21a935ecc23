# SPDX-License-Identifier: Apache-2.0
"""The demo in the browser, from its command to its end: the page is served at the address that it
prints, and Ctrl-C ends every process.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('aiohttp', reason='the console needs aiohttp')
pytest.importorskip('mujoco', reason='the simulated camera needs mujoco')
psutil = pytest.importorskip('psutil', reason='psutil lists processes')

from support.graph import Domain

pytestmark = pytest.mark.slow
WAIT_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def test_the_demo_prints_an_address_that_opens_the_page_and_ctrl_c_ends_all(
    tmp_path: Path,
) -> None:
    domain, port, log = Domain(), free_port(), tmp_path / 'demo.log'
    words = [sys.executable, '-m', 'penguin_ros.cli.main', 'demo', '--console', '--port', f'{port}']
    with log.open('wb') as out:
        demo = subprocess.Popen(
            words,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain.number)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        end = time.monotonic() + WAIT_S
        while not (found := re.search(r'open this address: (\S+)', log.read_text())):
            assert time.monotonic() < end and demo.poll() is None, log.read_text()
            time.sleep(0.1)
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        page = urllib.request.build_opener(jar).open(found[1], timeout=WAIT_S).read()
        assert b'<title>penguin console</title>' in page
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 4, 'camera, node, memory and console'
        demo.send_signal(signal.SIGINT)
        assert demo.wait(WAIT_S) == 0, log.read_text()
        assert not [child for child in children if child.is_running()]
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGINT)
            demo.wait(WAIT_S)
        domain.close()
