# SPDX-License-Identifier: Apache-2.0
"""Turns the JSON files of a checkpoint into its CheckpointShape, and takes from the tensors what
the files may leave out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.checkpoint.folder_kind import FIX_QUANTISED, quantised_config
from penguin_ros.checkpoint.json_file import JsonFile, is_file, read_json
from penguin_ros.checkpoint.rotary import check_unscaled, read_rope_theta
from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING
from penguin_ros.checkpoint.tensors import TensorReader
from penguin_ros.checkpoint.tokenizer import added_token_ids
from penguin_ros.errors import CheckpointConfigError, CheckpointTensorError

MODEL_TYPE = 'penguinvl_qwen3'
PROJECTOR_TYPE = 'mlp2x_gelu'
ENCODER_ROPE_THETA, ENCODER_NORM_EPS = 1e6, 1e-6
"""What the encoder uses when there is no configuration of it."""

PROCESSORS = 'PenguinVL'
STOP_TOKENS = ('<|im_end|>', '<|endoftext|>')
RGB = 3
BICUBIC = 3
MAX_LAYERS = 1024
MAX_PATCH_SIZE = 1024


@dataclass(frozen=True)
class ConfigFiles:
    """The parsed configuration of a checkpoint folder; `encoder` is None when the encoder's is
    nowhere.
    """

    folder: Path
    model: JsonFile
    encoder: JsonFile | None


def read_shape(files: ConfigFiles, tensors: TensorReader) -> CheckpointShape:
    """Returns all numbers of a checkpoint.

    CheckpointConfigError or CheckpointNotFound names the file and key that is wrong,
    CheckpointTensorError a tensor that should have supplied what the files leave out.
    """
    model = files.model
    channels, patch_size = _patch(files, tensors)
    processor = _processor(files.folder, channels)
    if processor.patch_size != patch_size:
        raise CheckpointConfigError(
            f'{files.folder}: patch_size is {processor.patch_size} in preprocessor_config.json',
            f'the encoder takes patches of {patch_size}',
        )
    vocabulary_size = model.integer('vocab_size')
    return CheckpointShape(
        llm=_llm(model, tensors),
        encoder=_encoder(files.encoder, tensors),
        channels=channels,
        patch_size=patch_size,
        vocabulary_size=vocabulary_size,
        image_token_id=model.integer('image_token_index', 0, vocabulary_size - 1),
        is_tied=model.flag('tie_word_embeddings', default=not tensors.has(HEAD)),
        stop_token_ids=_stop_token_ids(files, vocabulary_size),
        max_positions=model.integer('max_position_embeddings'),
        processor=processor,
    )


def check_kind(model: JsonFile) -> None:
    """Raises CheckpointConfigError when config.json belongs to another kind of model."""
    quantised = quantised_config(dict(model.values))
    if quantised:
        raise CheckpointConfigError(
            f'{model.where}: the weights are quantised ({quantised})',
            'only weights in float32, float16 and bfloat16 are read',
            FIX_QUANTISED,
        )
    for key, only in (('model_type', MODEL_TYPE), ('vision_projector_type', PROJECTOR_TYPE)):
        if model.has(key) and model.text(key) != only:
            raise model.error(key, f'only {only} is supported')


def _check_layers(stack: JsonFile) -> None:
    if stack.has('hidden_act') and stack.text('hidden_act') != 'silu':
        raise stack.error('hidden_act', 'only silu is supported')
    for key in ('attention_bias', 'use_sliding_window'):
        if stack.flag(key, default=False):
            raise stack.error(key, 'only false is supported')
    kinds = stack.values.get('layer_types')
    if isinstance(kinds, list) and set(kinds) - {'full_attention'}:
        raise stack.error('layer_types', 'only full_attention is supported')
    check_unscaled(stack)


def _llm(model: JsonFile, tensors: TensorReader) -> TransformerShape:
    _check_layers(model)
    shape = TransformerShape(
        layers=model.integer('num_hidden_layers', 1, MAX_LAYERS),
        hidden_size=model.integer('hidden_size'),
        ffn_size=model.integer('intermediate_size'),
        heads=model.integer('num_attention_heads'),
        kv_heads=model.integer('num_key_value_heads'),
        head_dim=_head_dim(model, tensors, 'llm'),
        rope_theta=read_rope_theta(model),
        norm_eps=model.number('rms_norm_eps'),
    )
    return _checked(shape, model.where)


def _encoder(config: JsonFile | None, tensors: TensorReader) -> TransformerShape:
    """A configuration may leave sizes out, which then follow from the tensors."""
    given = config or JsonFile({}, f'the encoder of {tensors.path}')
    _check_layers(given)
    head_dim = _head_dim(given, tensors, 'encoder')

    def size(key: str, tensor: str, divisor: int = 1) -> int:
        return (
            given.integer(key)
            if given.has(key)
            else _rows(tensors, f'encoder.{tensor}.weight') // divisor
        )

    layers = (
        given.integer('num_hidden_layers', 1, MAX_LAYERS)
        if given.has('num_hidden_layers')
        else _layers(tensors)
    )
    shape = TransformerShape(
        layers=layers,
        hidden_size=size('hidden_size', 'patch_embedding'),
        ffn_size=size('intermediate_size', 'layers.0.mlp.gate_proj'),
        heads=size('num_attention_heads', 'layers.0.self_attn.q_proj', head_dim),
        kv_heads=size('num_key_value_heads', 'layers.0.self_attn.k_proj', head_dim),
        head_dim=head_dim,
        rope_theta=ENCODER_ROPE_THETA if config is None else read_rope_theta(config),
        norm_eps=given.number('rms_norm_eps') if given.has('rms_norm_eps') else ENCODER_NORM_EPS,
    )
    return _checked(shape, given.where)


def _head_dim(config: JsonFile, tensors: TensorReader, stack: str) -> int:
    return (
        config.integer('head_dim')
        if config.has('head_dim')
        else _rows(tensors, f'{stack}.layers.0.self_attn.q_norm.weight')
    )


def _layers(tensors: TensorReader) -> int:
    found = {
        match[1]
        for name in tensors.names()
        if (match := re.match(r'encoder\.layers\.(\d+)\.', name))
    }
    return len(found)


def _rows(tensors: TensorReader, name: str) -> int:
    shape = tensors.published_shape(name)
    if not shape or shape[0] < 1:
        raise CheckpointTensorError(str(tensors.path), misshaped=[f'{name} (is {list(shape)})'])
    return shape[0]


def _checked(shape: TransformerShape, where: str) -> TransformerShape:
    problem = ''
    if shape.kv_heads < 1 or shape.heads < 1 or shape.heads % shape.kv_heads:
        problem = (
            f'{shape.heads} attention heads cannot share {shape.kv_heads} key-value heads evenly'
        )
    elif shape.head_dim % 2:
        problem = f'head_dim {shape.head_dim} is odd, rotary positions need pairs'
    elif shape.layers < 1:
        problem = 'there is no layer'
    if problem:
        raise CheckpointConfigError(f'{where}: sizes do not fit together', problem)
    return shape


def _patch(files: ConfigFiles, tensors: TensorReader) -> tuple[int, int]:
    """Returns (channels, patch size in pixels) from the encoder's configuration, or else from the
    shape of the patch embedding.
    """
    if (
        files.encoder is not None
        and files.encoder.has('patch_size')
        and files.encoder.has('num_channels')
    ):
        channels = files.encoder.integer('num_channels')
        patch_size = files.encoder.integer('patch_size', 1, MAX_PATCH_SIZE)
    else:
        shape = tensors.published_shape(PATCH_EMBEDDING)
        if len(shape) != 4 or shape[2] != shape[3] or not 1 <= shape[2] <= MAX_PATCH_SIZE:
            raise CheckpointTensorError(
                str(tensors.path),
                misshaped=[
                    f'{PATCH_EMBEDDING} (is {list(shape)}, '
                    'must be hidden x channels x patch x patch)'
                ],
            )
        channels, patch_size = shape[1], shape[2]
    if channels != RGB:
        raise CheckpointConfigError(
            f'the encoder of {files.folder} takes {channels} channels', 'only RGB is supported'
        )
    return channels, patch_size


def _processor(folder: Path, channels: int) -> ProcessorShape:
    video = read_json(folder / 'processor_config.json')
    _check_processor(folder, video)
    image = read_json(folder / 'preprocessor_config.json')
    if image.has('resample') and image.integer('resample', 0) != BICUBIC:
        raise image.error('resample', f'only bicubic ({BICUBIC}) is supported')
    shape = ProcessorShape(
        image_mean=image.numbers('image_mean', channels, is_zero_allowed=True),
        image_std=image.numbers('image_std', channels),
        rescale_factor=image.number('rescale_factor'),
        min_tokens=image.integer('min_tokens'),
        max_tokens=image.integer('max_tokens'),
        patch_size=image.integer('patch_size', 1, MAX_PATCH_SIZE),
        image_merge_size=video.integer('image_merge_size', 1, MAX_PATCH_SIZE),
        video_merge_size=video.integer('video_merge_size', 1, MAX_PATCH_SIZE),
        fps=video.number('fps'),
        max_frames=video.integer('max_frames'),
    )
    if shape.min_tokens > shape.max_tokens:
        raise image.error('min_tokens', f'it is above max_tokens, {shape.max_tokens}')
    return shape


def _check_processor(folder: Path, video: JsonFile) -> None:
    """Raises CheckpointConfigError for processors of other models, or in the form of newer
    libraries, which put all of them into one file.
    """
    nested = [key for key in ('image_processor', 'video_processor') if video.has(key)]
    if nested and not is_file(folder / 'preprocessor_config.json'):
        raise CheckpointConfigError(
            f'{video.where} was written by a newer transformers',
            f'it holds {" and ".join(nested)}, and preprocessor_config.json is missing',
            'Copy preprocessor_config.json and processor_config.json of the published checkpoint '
            'into the folder: hf download OWNER/NAME preprocessor_config.json '
            f'processor_config.json --local-dir {folder}',
        )
    if not is_file(folder / 'preprocessor_config.json'):
        return  # whose absence is told when it is read
    image = read_json(folder / 'preprocessor_config.json')
    for file, key in ((image, 'image_processor_type'), (video, 'processor_class')):
        if file.has(key) and not file.text(key).startswith(PROCESSORS):
            raise file.error(key, f'only the processors of Penguin-VL ({PROCESSORS}...) are known')


def _stop_token_ids(files: ConfigFiles, vocabulary_size: int) -> tuple[int, ...]:
    """Collects what the configurations call the end, and the two tokens that always end a turn."""
    ids: set[int] = set()
    generation = files.folder / 'generation_config.json'
    for config in (files.model, read_json(generation) if is_file(generation) else JsonFile({}, '')):
        ids |= _end_ids(config, vocabulary_size)
    added = added_token_ids(files.folder)
    ids |= {added[token] for token in STOP_TOKENS if token in added}
    if not ids or max(ids) >= vocabulary_size:
        raise CheckpointConfigError(
            f'{files.folder} names no usable token that ends a text',
            f'eos_token_id, {" and ".join(STOP_TOKENS)} are absent or above vocab_size',
        )
    return tuple(sorted(ids))


def _end_ids(config: JsonFile, vocabulary_size: int) -> set[int]:
    """Reads eos_token_id, which is one number or a list of them."""
    value = config.values.get('eos_token_id')
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < vocabulary_size
        for number in ids
    ):
        raise config.error('eos_token_id', f'takes token ids below vocab_size, {vocabulary_size}')
    return set(ids)
