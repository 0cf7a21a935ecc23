# SPDX-License-Identifier: Apache-2.0
"""A published checkpoint, opened and checked.

This file knows where the parts of a checkpoint are, among them the encoder's configuration, which
is inside config.json, in a folder, in a hub repository, or nowhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from penguin_ros.checkpoint.calibration import AnswerTemperatures, read_answer_temperatures
from penguin_ros.checkpoint.configuration import ConfigFiles, check_kind, read_shape
from penguin_ros.checkpoint.folder_kind import require_checkpoint_folder
from penguin_ros.checkpoint.hub import (
    ProgressCallback,
    download_checkpoint,
    download_file,
    hub_name,
    is_hub_id,
)
from penguin_ros.checkpoint.json_file import JsonFile, is_file, read_bytes, read_json
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tensor_names import HEAD
from penguin_ros.checkpoint.tensors import TensorReader
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer, check_tokenizer_files
from penguin_ros.checkpoint.weight_files import find_weight_files
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound
from penguin_ros.shipped import MODEL, MODEL_NAMES, shipped_model

CONFIG = 'config.json'


def read_encoder_config(folder: Path, model: JsonFile) -> JsonFile | None:
    """Returns the encoder's own configuration, or None when `model` (the parsed config.json of
    `folder`) names none.

    CheckpointNotFound when it names a folder that does not exist, HubUnavailable when a repository
    cannot be reached.
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
        raise CheckpointNotFound(
            f'{model.where}: vision_encoder names {name}',
            'there is no such folder',
            f"Put the encoder's config.json at {folder / name / CONFIG}",
        )
    repository = name.partition('@')[0]
    return read_json(
        download_file(
            name,
            CONFIG,
            'On a machine with internet type: '
            f'hf download {repository} {CONFIG} --local-dir {name}   and copy the file here to '
            f'{folder / name / CONFIG}',
        )
    )


IMAGE_TOKEN = '<image>'
DIGESTED = (
    CONFIG,
    'generation_config.json',
    'preprocessor_config.json',
    'processor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'vocab.json',
    'merges.txt',
    'added_tokens.json',
)


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint.

    `path` is its folder, `name` what people call it, `shape` holds all numbers, `tensors` reads the
    weights, and `files` are the parsed configuration files.
    """

    path: Path
    name: str
    shape: CheckpointShape
    tensors: TensorReader
    files: ConfigFiles

    @cached_property
    def tokenizer(self) -> PenguinTokenizer:
        """The tokenizer, read on first use; CheckpointConfigError when it does not fit the rest of
        the checkpoint.
        """
        tokenizer = PenguinTokenizer(self.path)
        found = tokenizer.markup_id(IMAGE_TOKEN)
        if found != self.shape.image_token_id:
            raise CheckpointConfigError(
                f'{self.path}: image_token_index is {self.shape.image_token_id}',
                f'the tokenizer calls {IMAGE_TOKEN} {found}',
            )
        return tokenizer

    @cached_property
    def answer_temperatures(self) -> AnswerTemperatures:
        """The temperatures that were fitted for it; CheckpointConfigError when their file is
        malformed.
        """
        return read_answer_temperatures(self.path)

    @property
    def parameter_counts(self) -> dict[str, int]:
        """Parameters of the LLM with its embedding ('language'), and of encoder and projector
        ('vision'); a tied head counts once.
        """
        sizes = {
            name: math.prod(self.tensors.shape(name))
            for name in self.tensors.names()
            if not (self.shape.is_tied and name == HEAD)
        }
        language = sum(size for name, size in sizes.items() if name.startswith('llm.'))
        return {'language': language, 'vision': sum(sizes.values()) - language}

    @cached_property
    def digest(self) -> str:
        """A sha256 (hex) over the configuration, the tokenizer, and each tensor's name, format,
        shape and first bytes.

        It is cheap, because gigabytes are not read. The same weights in other shards or another
        layout have the same tensor part.
        """
        digest = hashlib.sha256()
        encoder = {} if self.files.encoder is None else dict(self.files.encoder.values)
        digest.update(json.dumps(encoder, sort_keys=True).encode())
        for name in DIGESTED:
            if is_file(self.path / name):
                content = read_bytes(self.path / name)
                digest.update(f'{name} {len(content)}\n'.encode() + content)
        digest.update('\n'.join(self.tensors.fingerprints()).encode())
        return digest.hexdigest()


def open_checkpoint(source: str | Path, *, progress: ProgressCallback | None = None) -> Checkpoint:
    """Opens a folder or a hub id (`owner/name`, with `@revision` behind it when wanted), which is
    downloaded when needed; `penguin_sim` is the small model that is included.

    Every file, tensor name and tensor shape is checked; only the headers of the weights are read.
    Only children of CheckpointError are raised. `progress` is called with a line of text, from any
    thread.
    """
    folder, name = _located(source, progress or (lambda line: None))
    files = _read_config(folder)
    tensors = TensorReader(folder, find_weight_files(folder))
    shape = read_shape(files, tensors)
    tensors.check(shape)
    return Checkpoint(folder, name, shape, tensors, files)


def _read_config(folder: Path) -> ConfigFiles:
    """Reads everything but the weights, which are large: whatever can be wrong without them is
    found here.
    """
    require_checkpoint_folder(folder)
    model = read_json(folder / CONFIG)
    check_kind(model)
    check_tokenizer_files(folder)
    return ConfigFiles(folder, model, read_encoder_config(folder, model))


def _located(source: str | Path, progress: ProgressCallback) -> tuple[Path, str]:
    folder = Path(source)
    if str(source) and _is_present(folder):
        return folder, hub_name(folder) or folder.resolve().name
    if str(source) in MODEL_NAMES:
        return _shipped(), MODEL
    if isinstance(source, str) and is_hub_id(source):
        return download_checkpoint(source, progress, _read_config), source
    raise CheckpointNotFound(
        f'{str(source)[:200]!r} is no checkpoint',
        'there is no such folder, and it is no hub id (owner/name)',
        'Name the folder that holds config.json',
    )


def _shipped() -> Path:
    folder = shipped_model()
    if folder is None:
        raise CheckpointNotFound(
            f'the small model {MODEL} is not here',
            'it was not installed with penguin_ros, or its weights are missing',
            'Name the folder of a checkpoint, or a hub id such as tencent/Penguin-VL-2B',
        )
    return folder


def _is_present(path: Path) -> bool:
    """Whether there is something at a path, even if this user may not look at it."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
