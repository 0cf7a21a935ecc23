# SPDX-License-Identifier: Apache-2.0
"""A served engine passes the standard tests that LangChain has for chat models, but for those of
tools, which it does not have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.encoded_images import encoded
from support.real_servers import SUPPORT, server_process
from support.served_chat import picture
from support.stand_in_server import closed_port

from penguin_ros.shipped import MODEL, shipped_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEY = 'a-key-for-tests-only'
SUITE = SUPPORT / 'langchain_suite.py'


def outcomes(report: Path) -> dict[str, set[str]]:
    """Names of tests by what became of them."""
    found = defaultdict(set)
    for case in ElementTree.parse(report).iter('testcase'):
        marks = {child.tag for child in case} & {'failure', 'error', 'skipped'}
        found[marks.pop() if marks else 'passed'].add(case.attrib['name'].partition('[')[0])
    return found


def test_the_standard_tests_of_langchain(tmp_path: Path) -> None:
    python = os.environ.get('PENGUIN_CLIENTS_PYTHON', '')
    if not python:
        pytest.skip('make a venv of requirements/clients.txt and set PENGUIN_CLIENTS_PYTHON')
    if shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    port, report = closed_port(), tmp_path / 'report.xml'
    serve = [sys.executable, '-m', 'penguin_ros.cli.entry', 'serve', MODEL, '--port', str(port)]
    image = tmp_path / 'picture.png'
    image.write_bytes(encoded(picture(90)).content)
    log, keys = tmp_path / 'log', {'PENGUIN_API_KEYS': KEY}
    with server_process(serve, port, log, keys, path='/ready'):
        environment = {
            **{name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
            'PENGUIN_SUITE_URL': f'http://127.0.0.1:{port}/v1',
            'PENGUIN_SUITE_KEY': KEY,
            'PENGUIN_SUITE_MODEL': MODEL,
            'PENGUIN_SUITE_PICTURE': str(image),
        }
        done = subprocess.run(
            [
                *(python, '-m', 'pytest', str(SUITE), '-c', os.devnull),
                *('-o', 'asyncio_mode=auto', '--junitxml', str(report)),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            env=environment,
            cwd=tmp_path,
        )
    found = outcomes(report)
    assert not found['failure'] | found['error'], done.stdout[-6000:]
