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
from support.served_chat import KEY, ServedChat, picture
from support.stand_in_server import closed_port

from penguin_ros.shipped import MODEL, shipped_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SUITE = SUPPORT / 'langchain_suite.py'
JOKE = '{"setup": "Why?", "punchline": "Ice."}'
ANY_MODEL = {
    *('test_invoke', 'test_ainvoke', 'test_stream', 'test_astream', 'test_batch', 'test_abatch'),
    *('test_stream_events_v3', 'test_astream_events_v3', 'test_conversation'),
    *('test_double_messages_conversation', 'test_message_with_name', 'test_stop_sequence'),
    *('test_usage_metadata', 'test_usage_metadata_streaming', 'test_image_inputs'),
}
OBJECTS = {
    *('test_structured_output', 'test_structured_output_async', 'test_json_mode'),
    'test_structured_output_optional_param',
}
NOT_SERVED = (
    *('test_tool_calling', 'test_tool_choice', 'test_agent_loop', 'test_pdf_inputs'),
    *('test_audio_inputs', 'test_anthropic_inputs', 'test_image_tool_message'),
)


def outcomes(report: Path) -> dict[str, set[str]]:
    """Names of tests by what became of them."""
    found = defaultdict(set)
    for case in ElementTree.parse(report).iter('testcase'):
        marks = {child.tag for child in case} & {'failure', 'error', 'skipped'}
        found[marks.pop() if marks else 'passed'].add(case.attrib['name'].partition('[')[0])
    return found


def run_suite(folder: Path, url: str, model: str, writes_json: bool) -> dict[str, set[str]]:
    """Runs LangChain's tests in the python that has them; returns names by outcome."""
    python = os.environ.get('PENGUIN_CLIENTS_PYTHON', '')
    if not python:
        pytest.skip('make a venv of requirements/clients.txt and set PENGUIN_CLIENTS_PYTHON')
    image, report = folder / 'picture.png', folder / 'report.xml'
    image.write_bytes(encoded(picture(90)).content)
    environment = {
        **{name: value for name, value in os.environ.items() if name != 'PYTHONPATH'},
        'PENGUIN_SUITE_URL': url,
        'PENGUIN_SUITE_KEY': KEY,
        'PENGUIN_SUITE_MODEL': model,
        'PENGUIN_SUITE_PICTURE': str(image),
        'PENGUIN_SUITE_JSON': 'yes' if writes_json else 'no',
    }
    done = subprocess.run(
        [
            *(python, '-m', 'pytest', str(SUITE), '-c', os.devnull, '--junitxml', str(report)),
            # Its client keeps connections, which belong to one loop.
            *('-o', 'asyncio_mode=auto', '-o', 'asyncio_default_test_loop_scope=session'),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        cwd=folder,
    )
    found = outcomes(report)
    assert not found['failure'] | found['error'], done.stdout[-6000:]
    return found


def test_the_included_model_passes_what_needs_no_objects(tmp_path: Path) -> None:
    if shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    port = closed_port()
    serve = [sys.executable, '-m', 'penguin_ros.cli.entry', 'serve', MODEL, '--port', str(port)]
    log, keys = tmp_path / 'log', {'PENGUIN_API_KEYS': KEY}
    with server_process(serve, port, log, keys, path='/ready'):
        found = run_suite(tmp_path, f'http://127.0.0.1:{port}/v1', MODEL, writes_json=False)
    assert found['passed'] >= ANY_MODEL


def test_a_scripted_model_passes_with_objects_too(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    with ServedChat(tiny_checkpoint, keys=(KEY,), text=JOKE) as served:
        found = run_suite(tmp_path, served.url, served.model, writes_json=True)
    assert found['passed'] >= ANY_MODEL | OBJECTS
    assert all(name in found['skipped'] for name in NOT_SERVED)
