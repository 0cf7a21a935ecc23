# SPDX-License-Identifier: Apache-2.0
"""Where the encoder's configuration lies: inside config.json, in a folder, in a hub repository, or nowhere."""
from __future__ import annotations

from pathlib import Path

from penguin_ros.checkpoint.hub import download_file, is_hub_id
from penguin_ros.checkpoint.json_file import JsonFile, is_file, read_json
from penguin_ros.errors import CheckpointNotFound

CONFIG = 'config.json'


def read_encoder_config(folder: Path, model: JsonFile) -> JsonFile | None:
    """The encoder's own configuration, or None when `model` (the parsed config.json of `folder`) names none.

    CheckpointNotFound when a folder is named that is not there, HubUnavailable when a repository cannot be reached.
    """
    if model.has('vision_encoder_config'):
        return model.part('vision_encoder_config')
    if model.values.get('vision_encoder') in (None, ''):
        return None
    name = model.text('vision_encoder')
    for candidate in (folder / name / CONFIG, Path(name) / CONFIG):
        if is_file(candidate):
            return read_json(candidate)
    if not is_hub_id(name):
        raise CheckpointNotFound(f'{model.where}: vision_encoder names {name}', 'there is no such folder',
                                 f'Put the encoder\'s config.json at {folder / name / CONFIG}')
    repository = name.partition('@')[0]
    return read_json(download_file(name, CONFIG, 'On a machine with internet type: '
                                   f'hf download {repository} {CONFIG} --local-dir {name}   and copy the file here to '
                                   f'{folder / name / CONFIG}'))
