# SPDX-License-Identifier: Apache-2.0
"""vLLM itself, its build for CPUs, is asked about clips, with a tiny random model that takes
videos. It needs a venv of its own, whose python PENGUIN_VLLM_PYTHON names.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.asked_servers import Asker, clip_frames
from support.listening import open_addresses, with_children
from support.real_servers import (
    PATIENT,
    check_answers,
    check_cancelling,
    server_process,
    write_model,
)
from support.stand_in_server import closed_port, waited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

START_SECONDS = 900.0
ENVIRONMENT = {
    'VLLM_CPU_KVCACHE_SPACE': '1',
    'VLLM_HOST_IP': '127.0.0.1',
    'VLLM_NO_USAGE_STATS': '1',
    'PYTHONPATH': '',
}


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('qwen') / 'tiny'
    write_model('tiny_qwen.py', folder, vllm_python())
    return folder


def vllm_python() -> str:
    python = os.environ.get('PENGUIN_VLLM_PYTHON', '')
    if not python:
        pytest.skip('make a venv of requirements/vllm.txt and set PENGUIN_VLLM_PYTHON')
    return python


@contextmanager
def vllm(model: Path, *options: str) -> Iterator[str]:
    port = closed_port()
    command = [
        *(vllm_python(), '-m', 'vllm.entrypoints.openai.api_server', '--model', str(model)),
        *('--dtype', 'float32', '--enforce-eager', '--max-model-len', '8192'),
        *('--host', '127.0.0.1', '--port', str(port), *options),
    ]
    log = model.parent / f'log{port}'
    with server_process(command, port, log, ENVIRONMENT, START_SECONDS) as server:
        assert open_addresses(with_children(server.pid)) == set()
        yield f'http://127.0.0.1:{port}'


def running(url: str) -> int:
    """How many requests are under way, as vLLM counts them."""
    with urllib.request.urlopen(f'{url}/metrics', timeout=60) as response:
        text = response.read().decode()
    found = re.search(r'^vllm:num_requests_running\{.*\} ([\d.]+)$', text, re.MULTILINE)
    assert found is not None, text[:2000]
    return int(float(found[1]))


def test_a_video_keeps_all_frames_where_vllm_trusts_the_request(model: Path, asker: Any) -> None:
    with vllm(model, '--trust-request-mm-kwargs') as url:
        check_answers(asker, url, 'vllm-video')
        engines: Asker = asker(url, idle_timeout=60.0)
        few, many = (
            engines.answer(max_tokens=4, frames=clip_frames(count), **PATIENT).stats.prompt_tokens
            for count in (4, 40)
        )
        words = engines.answer(max_tokens=4, frames=(), **PATIENT).stats.prompt_tokens
        assert many - words == pytest.approx(10 * (few - words), rel=0.05), 'none is left out'
        check_cancelling(asker, url)
        waited(lambda: running(url) == 0, 60.0)


def test_pictures_with_their_times_go_to_a_vllm_that_does_not(model: Path, asker: Any) -> None:
    with vllm(model) as url:
        check_answers(asker, url, 'images')
