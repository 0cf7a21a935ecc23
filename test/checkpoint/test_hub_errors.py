# SPDX-License-Identifier: Apache-2.0
"""What is said when a hub id cannot be downloaded: what failed, why, and what to type."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from support.hub_client import MODEL, Client, closed_port
from support.stand_in_hub import StandIn

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import HubUnavailable


def test_offline_says_what_to_type_on_another_machine(client: Client) -> None:
    refused = client.open(MODEL, HF_HUB_OFFLINE='1')
    assert refused['error'] == 'HubUnavailable'
    assert 'HF_HUB_OFFLINE is set' in refused['why']
    assert f'hf download {MODEL} --local-dir tiny' in refused['fix']


def test_an_unreachable_hub_is_named_at_once(client: Client) -> None:
    url = closed_port()
    refused = Client(url, client.home).open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert url in refused['why']
    assert f'hf download {MODEL}' in refused['fix']
    assert refused['seconds'] < 20


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up(client: Client) -> None:
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        refused = Client(f'http://127.0.0.1:{silent.getsockname()[1]}', client.home).open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert 'Timeout' in refused['why']
    assert refused['seconds'] < 40


def test_an_unknown_repository_is_named(client: Client) -> None:
    refused = client.open('penguin/absent')
    assert refused['error'] == 'HubUnavailable'
    assert 'no such repository' in refused['why']
    assert 'spelling' in refused['fix']


def test_a_gated_repository_says_where_to_accept_its_terms(hub: StandIn, client: Client) -> None:
    hub.gated = {MODEL}
    refused = client.open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert 'accept its terms' in refused['why']
    assert f'{hub.url}/{MODEL}' in refused['fix']
    assert 'hf auth login' in refused['fix']


@pytest.mark.parametrize('status', [403, 500])
def test_any_other_answer_is_an_error_of_the_hub(hub: StandIn, client: Client, status: int) -> None:
    hub.broken_status = status
    refused = client.open(MODEL)
    assert (refused['error'], str(status) in refused['why']) == ('HubUnavailable', True)


def test_a_disk_without_space_is_named_before_downloading(hub: StandIn, client: Client) -> None:
    hub.extra_bytes = 2**50
    refused = client.open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert 'are needed' in refused['why']
    assert 'HF_HOME' in refused['fix']
    assert not any('00001-of-00002' in line for line in hub.requests if 'resolve' in line)


def test_a_cache_that_cannot_be_written_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    refused = Client(client.url, tmp_path / 'file').open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert 'HF_HOME' in refused['fix']


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(HubUnavailable, match='pip install "?huggingface_hub'):
        open_checkpoint(MODEL)
