# SPDX-License-Identifier: Apache-2.0
"""Hub ids, with the hub's real client in a process of its own and a stand-in for the hub on this
machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.hub_client import ENCODER, MODEL, Client, closed_port
from support.rewriting import copied, with_value
from support.stand_in_hub import StandIn

from penguin_ros.checkpoint.hub import hub_name, is_hub_id


def test_a_hub_id_is_downloaded_and_opened(hub: StandIn, client: Client) -> None:
    found = client.open(MODEL)
    assert found['name'] == MODEL
    folder = Path(found['path'])
    assert (folder / 'tokenizer.json').is_file()
    assert not list(folder.rglob('*.py'))
    assert not list(folder.rglob('*.bin'))
    assert not any('.py' in line or '.bin' in line for line in hub.requests)
    assert found['lines'][0] == f'asking the hub for {MODEL}'
    assert any(line.startswith(f'downloading {MODEL}: 1.2 MB') for line in found['lines'])
    assert found['lines'][-1] == f'downloaded {MODEL}'


def test_what_is_in_the_cache_is_opened_without_asking_anyone(hub: StandIn, client: Client) -> None:
    first = client.open(MODEL)
    asked = len(hub.requests)
    assert client.open(MODEL)['digest'] == first['digest']
    assert client.open(MODEL, HF_HUB_OFFLINE='1')['digest'] == first['digest']
    assert Client(closed_port(), client.home).open(MODEL)['digest'] == first['digest']
    assert len(hub.requests) == asked


def test_the_folder_in_the_cache_bears_the_name_of_the_repository(client: Client) -> None:
    folder = client.open(MODEL)['path']
    assert client.open(folder)['name'] == MODEL


def test_a_revision_is_taken_as_asked(hub: StandIn, client: Client) -> None:
    found = client.open(f'{MODEL}@{hub.commit(MODEL)}')
    assert Path(found['path']).name == hub.commit(MODEL)
    refused = client.open(f'{MODEL}@v9')
    assert (refused['error'], refused['why'].split(' has ')[1]) == (
        'HubUnavailable',
        'no such revision of it',
    )


def test_the_configuration_of_the_encoder_is_fetched_before_the_weights(
    hub: StandIn, client: Client
) -> None:
    del hub.folders[ENCODER]
    refused = client.open(MODEL)
    assert refused['error'] == 'HubUnavailable'
    assert refused['what'] == f'{ENCODER} cannot be downloaded'
    assert not any(
        'safetensors' in line and 'index' not in line for line in hub.requests if 'resolve' in line
    )


def test_a_folder_whose_encoder_is_named_by_hub_id_asks_for_one_file(
    hub: StandIn, client: Client, tmp_path: Path
) -> None:
    folder = copied(hub.folders[MODEL], tmp_path / 'local')
    refused = client.open(str(folder), HF_HUB_OFFLINE='1')
    assert refused['error'] == 'HubUnavailable'
    assert f'hf download {ENCODER} config.json' in refused['fix']
    assert str(folder / ENCODER / 'config.json') in refused['fix']
    online = client.open(str(folder))
    assert online['name'] == 'local'
    assert client.open(str(folder), HF_HUB_OFFLINE='1')['digest'] == online['digest']


def test_the_file_put_where_the_message_says_is_used(hub: StandIn, tmp_path: Path) -> None:
    folder = copied(hub.folders[MODEL], tmp_path / 'local')
    (folder / ENCODER).mkdir(parents=True)
    shutil.copyfile(hub.folders[ENCODER] / 'config.json', folder / ENCODER / 'config.json')
    assert 'digest' in Client(closed_port(), tmp_path / 'home').open(str(folder))


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(
    hub: StandIn, client: Client
) -> None:
    with_value(hub.folders[MODEL] / 'config.json', 'model_type', 'llama')
    refused = client.open(MODEL)
    assert (refused['error'], 'model_type' in refused['what']) == ('CheckpointConfigError', True)
    assert not any('00001-of-00002' in line for line in hub.requests)


def test_an_interrupted_download_leaves_nothing_that_loads_and_goes_on_later(
    hub: StandIn, client: Client
) -> None:
    hub.stall_after = 100_000
    process = client.start(MODEL)
    try:
        assert hub.stalled.wait(60)
    finally:
        process.kill()
        process.communicate()
    offline = client.open(MODEL, HF_HUB_OFFLINE='1')
    assert (offline['error'], 'HF_HUB_OFFLINE' in offline['why']) == ('HubUnavailable', True)
    snapshot = next((client.home / 'hub').glob('models--penguin--tiny/snapshots/*'))
    assert client.open(str(snapshot), HF_HUB_OFFLINE='1')['error'] in (
        'CheckpointNotFound',
        'HubUnavailable',
    )
    hub.stall_after = None
    assert client.open(MODEL)['name'] == MODEL


def test_a_snapshot_that_lost_a_shard_is_completed(client: Client) -> None:
    first = client.open(MODEL)
    shard = Path(first['path']) / 'model-00002-of-00002.safetensors'
    shard.resolve().unlink()
    shard.unlink()
    assert client.open(MODEL)['digest'] == first['digest']
    assert shard.is_file()


@pytest.mark.parametrize(
    'source, expected',
    [
        ('tencent/Penguin-VL-2B', True),
        ('a/b@v1.0', True),
        ('a/b@refs/pr/1', True),
        ('/a/b', False),
        ('a/b/c', False),
        ('a', False),
        ('./a', False),
        ('../a', False),
        ('a/', False),
        ('a b/c', False),
        ('', False),
        ('a/b@', False),
    ],
)
def test_hub_ids_are_told_from_paths(source: str, expected: bool) -> None:
    assert is_hub_id(source) is expected


def test_only_snapshots_of_the_cache_bear_a_repository_s_name(tmp_path: Path) -> None:
    assert (
        hub_name(tmp_path / 'models--tencent--Penguin-VL-2B' / 'snapshots' / 'abc')
        == 'tencent/Penguin-VL-2B'
    )
    assert hub_name(tmp_path / 'snapshots' / 'abc') == ''
    assert hub_name(Path('/')) == ''
