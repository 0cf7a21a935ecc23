# SPDX-License-Identifier: Apache-2.0
"""What people give as a checkpoint by mistake: each kind has its own sentence and remedy, and none
is called damaged or to be downloaded again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rewriting import with_value

from penguin_ros.checkpoint import folder_kind
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.safetensors_file import read_headers, write_safetensors
from penguin_ros.errors import CheckpointError

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000000\n'


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(folder)
    text = str(refused.value)
    assert (
        'damaged' not in text and 'elete' not in text and 'ownload the checkpoint again' not in text
    )
    assert refused.value.fix
    return text


@pytest.mark.parametrize(
    'name', ['model.safetensors', 'tokenizer.json', 'config.json', 'preprocessor_config.json']
)
def test_a_pointer_of_git_lfs_in_any_file_is_called_that(folder: Path, name: str) -> None:
    (folder / name).write_bytes(POINTER)
    text = refusal(folder) if name != 'tokenizer.json' else ''
    if not text:  # read when it is first used
        with pytest.raises(CheckpointError) as refused:
            _ = open_checkpoint(folder).tokenizer
        text = str(refused.value)
    assert f'{name} is a pointer of Git LFS' in text and 'lfs pull' in text


def test_a_web_page_in_the_place_of_a_file_is_called_that(folder: Path) -> None:
    (folder / 'model.safetensors').write_bytes(b'<!DOCTYPE html><html>Not found</html>')
    assert 'is a web page' in refusal(folder)


@pytest.mark.parametrize('base', ['tencent/Penguin-VL-2B', '/models/base', None])
@pytest.mark.parametrize('with_config', [False, True])
def test_an_adapter_is_called_that_with_its_base(
    tmp_path: Path, base: str | None, with_config: bool
) -> None:
    (tmp_path / 'adapter_config.json').write_text(
        json.dumps({'peft_type': 'LORA', 'base_model_name_or_path': base})
    )
    (tmp_path / 'adapter_model.safetensors').write_bytes((2).to_bytes(8, 'little') + b'{}')
    if with_config:
        (tmp_path / 'config.json').write_text('{}')
    text = refusal(tmp_path)
    assert f'LoRA adapter{f" of {base}" if base else ""}' in text and 'merge_and_unload' in text


def test_a_folder_too_high_or_too_low_names_the_right_one(folder: Path, tmp_path: Path) -> None:
    assert str(folder) in refusal(tmp_path)
    (folder / 'extra').mkdir()
    assert f'Name that folder: {folder}' in refusal(folder / 'extra')
    cache = tmp_path / 'hub' / 'models--owner--name'
    (cache / 'snapshots').mkdir(parents=True)
    folder.rename(cache / 'snapshots' / 'abc')
    assert f'{cache}/snapshots/abc' in refusal(cache)
    assert f'Name its folder: {cache}/snapshots/abc' in refusal(
        cache / 'snapshots' / 'abc' / 'model.safetensors'
    )


def test_a_bundle_and_other_formats_are_called_what_they_are(tmp_path: Path) -> None:
    for name, words in (
        ('bundle.yaml', 'is a bundle.*--bundle'),
        ('model-q4.gguf', 'GGUF'),
        ('pytorch_model.bin', 'pickled'),
        ('readme.md', 'no checkpoint'),
    ):
        folder = tmp_path / name.partition('.')[0]
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(CheckpointError, match=words):
            open_checkpoint(folder)
    with pytest.raises(CheckpointError, match='GGUF'):
        open_checkpoint(tmp_path / 'model-q4' / 'model-q4.gguf')


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'quant_method': 'fp8', 'weight_block_size': [128, 128]}, 'fp8'),
        ({'quant_method': 'gptq', 'bits': 4}, 'GPTQ, 4 bits'),
        ({'quant_method': 'awq', 'w_bit': 4}, 'AWQ, 4 bits'),
        (
            {'quant_method': 'bitsandbytes', 'load_in_4bit': True, 'bnb_4bit_quant_type': 'nf4'},
            'bitsandbytes, nf4',
        ),
        ({'quant_method': 'bitsandbytes', 'load_in_8bit': True}, 'bitsandbytes, int8'),
        ({'quant_method': 'compressed-tensors'}, 'compressed-tensors'),
        ({'quant_algo': 'NVFP4'}, 'NVFP4'),
    ],
)
def test_quantised_checkpoints_are_called_that_by_their_configuration(
    folder: Path, values: dict[str, Any], words: str
) -> None:
    with_value(folder / 'config.json', 'quantization_config', values)
    text = refusal(folder)
    assert f'the weights are quantised ({words})' in text and '--precision int4' in text


@pytest.mark.parametrize('suffix', ['qweight', 'weight_scale_inv', 'weight.absmax'])
def test_quantised_tensors_are_called_that_without_it(folder: Path, suffix: str) -> None:
    from penguin_ros.checkpoint.safetensors_file import map_tensor

    path = folder / 'model.safetensors'
    tensors = {
        name: (header.dtype, np.array(map_tensor(header)))
        for name, header in read_headers(path).items()
    }
    name = f'model.layers.0.self_attn.q_proj.{suffix}'
    write_safetensors(path, {**tensors, name: ('F32', np.zeros((4, 4), np.float32))})
    assert 'are quantised' in refusal(folder)


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors', ''])
def test_missing_permission_is_called_that(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, folder / name)
    text = refusal(folder)
    assert 'Permission denied' in text and 'ls -ld' in text and str(folder / name) in text


def forbid(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Lets the system refuse to read a path, as if this were not root's process."""

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(place: Any, *arguments: Any, **options: Any) -> Any:
            if Path(place) == path:
                raise PermissionError(13, 'Permission denied', str(path))
            return function(place, *arguments, **options)

        return call

    monkeypatch.setattr(folder_kind.os, 'listdir', refusing(os.listdir))
    monkeypatch.setattr(Path, 'open', refusing(Path.open))
    monkeypatch.setattr(Path, 'read_bytes', refusing(Path.read_bytes))


def test_processors_of_newer_libraries_and_of_other_models_are_called_that(folder: Path) -> None:
    with_value(folder / 'preprocessor_config.json', 'image_processor_type', 'Qwen2VLImageProcessor')
    assert 'Qwen2VLImageProcessor' in str(error_of(folder))
    (folder / 'preprocessor_config.json').unlink()
    with_value(folder / 'processor_config.json', 'image_processor', {'patch_size': 14})
    assert 'newer transformers' in refusal(folder)


def test_tokenizers_of_newer_libraries_and_of_other_kinds_are_called_that(folder: Path) -> None:
    with_value(folder / 'tokenizer.json', 'pre_tokenizer', {'type': 'FromTheFuture'})
    with pytest.raises(CheckpointError, match='tokenizers .* does not know.*--upgrade'):
        _ = open_checkpoint(folder).tokenizer
    for name in ('tokenizer.json', 'vocab.json', 'merges.txt'):
        (folder / name).unlink()
    (folder / 'tokenizer.model').touch()
    assert 'tokenizer of another kind: tokenizer.model is there' in refusal(folder)


def error_of(folder: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(folder)
    return refused.value
