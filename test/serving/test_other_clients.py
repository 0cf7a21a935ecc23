# SPDX-License-Identifier: Apache-2.0
"""LiteLLM and LangChain understand the answers too."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import clients_of_others
from support.live_pipeline import TEXT
from support.served_chat import KEY, ServedChat, image_part, picture, text_part

pytestmark = pytest.mark.slow


def test_litellm_and_langchain(tiny_checkpoint: Path) -> None:
    python = os.environ.get('PENGUIN_CLIENTS_PYTHON', '')
    if not python:
        pytest.skip('make a venv of requirements/clients.txt and set PENGUIN_CLIENTS_PYTHON')
    content = json.dumps([image_part(picture(90)), text_part('What is there?')])
    with ServedChat(tiny_checkpoint, keys=(KEY,), text=TEXT) as served:
        environment = {
            name: value for name, value in os.environ.items() if name != 'PYTHONPATH'
        } | {'LITELLM_LOCAL_MODEL_COST_MAP': 'True'}
        done = subprocess.run(
            [python, clients_of_others.__file__, served.url, KEY, served.model, content],
            capture_output=True,
            text=True,
            timeout=280,
            env=environment,
        )
    assert done.returncode == 0, done.stderr
    litellm, langchain = json.loads(done.stdout.splitlines()[-1])
    for understood in (litellm, langchain):
        assert understood['text'] == understood['streamed'] == TEXT and understood['tokens'] > 10
    assert litellm['error'] == 'NotFoundError' and langchain['batch'] == [TEXT, TEXT]
