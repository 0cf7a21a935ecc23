# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint with random weights in the published file set: for tests and benchmarks, and
for a demo without a model.

It speaks in words without meaning. Readers cannot tell it from a trained one.

The configuration and tokenizer files of a random checkpoint, as published ones have them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from penguin_ros.atomic_folder import atomic_folder
from penguin_ros.checkpoint.safetensors_file import STORAGE, narrowed, stream_safetensors
from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape
from penguin_ros.checkpoint.tensor_names import HEAD, PATCH_EMBEDDING, published_name
from penguin_ros.checkpoint.weight_files import INDEX, SINGLE
from penguin_ros.errors import CheckpointError
from penguin_ros.testing.random_tokenizer import ADDED_TOKENS, random_tokenizer, word_ids
from penguin_ros.testing.random_weights import RandomWeights

ENCODER_FOLDER = 'penguin-encoder'


def write_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> None:
    """The tokenizer in each of its published forms."""
    added = {token['content']: token['id'] for token in tokenizer['added_tokens']}
    special = [token for token, is_special in ADDED_TOKENS.items() if is_special]
    model = tokenizer['model']
    write_json(folder / 'tokenizer.json', tokenizer)
    write_json(folder / 'vocab.json', model['vocab'])
    write_json(folder / 'added_tokens.json', added)
    merges = '#version: 0.2\n' + ''.join(f'{left} {right}\n' for left, right in model['merges'])
    (folder / 'merges.txt').write_text(merges, encoding='utf-8')
    write_json(
        folder / 'special_tokens_map.json',
        {
            'additional_special_tokens': special,
            'eos_token': '<|im_end|>',
            'pad_token': '<|endoftext|>',
        },
    )
    write_json(
        folder / 'tokenizer_config.json',
        {
            'added_tokens_decoder': {
                str(token['id']): {key: value for key, value in token.items() if key != 'id'}
                for token in tokenizer['added_tokens']
            },
            'additional_special_tokens': special,
            'bos_token': None,
            'clean_up_tokenization_spaces': False,
            'eos_token': '<|im_end|>',
            'errors': 'replace',
            'model_max_length': 131072,
            'pad_token': '<|endoftext|>',
            'split_special_tokens': False,
            'tokenizer_class': 'Qwen2Tokenizer',
            'unk_token': None,
        },
    )


def write_configuration(
    folder: Path, shape: CheckpointShape, encoder_config: str, dtype: str
) -> None:
    """config.json and its companions; `encoder_config` says where the encoder's lies: 'folder',
    'inside' or 'none'.
    """
    model, encoder = _model(shape, dtype), _encoder(shape, dtype)
    if encoder_config == 'inside':
        model['vision_encoder_config'] = encoder
    elif encoder_config == 'folder':
        model['vision_encoder'] = ENCODER_FOLDER
        (folder / ENCODER_FOLDER).mkdir()
        write_json(folder / ENCODER_FOLDER / 'config.json', encoder)
    write_json(folder / 'config.json', model)
    write_json(
        folder / 'generation_config.json',
        {
            'eos_token_id': model['eos_token_id'],
            'pad_token_id': model['pad_token_id'],
            'do_sample': False,
        },
    )
    processor = shape.processor
    write_json(
        folder / 'preprocessor_config.json',
        {
            'do_convert_rgb': True,
            'do_normalize': True,
            'do_rescale': True,
            'do_resize': True,
            'image_mean': processor.image_mean,
            'image_std': processor.image_std,
            'image_processor_type': 'PenguinVLImageProcessor',
            'max_tokens': processor.max_tokens,
            'min_tokens': processor.min_tokens,
            'patch_size': processor.patch_size,
            'resample': 3,
            'rescale_factor': processor.rescale_factor,
        },
    )
    write_json(
        folder / 'processor_config.json',
        {
            'fps': processor.fps,
            'image_merge_size': processor.image_merge_size,
            'max_frames': processor.max_frames,
            'processor_class': 'PenguinVLQwen3Processor',
            'video_merge_size': processor.video_merge_size,
        },
    )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """One JSON file, in the order of the keys."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def _model(shape: CheckpointShape, dtype: str) -> dict[str, Any]:
    end, pad = shape.stop_token_ids
    return {
        'architectures': ['PenguinVLQwen3ForCausalLM'],
        'model_type': 'penguinvl_qwen3',
        **_stack(shape.llm, dtype),
        'vocab_size': shape.vocabulary_size,
        'max_position_embeddings': shape.max_positions,
        'tie_word_embeddings': shape.is_tied,
        'image_token_index': shape.image_token_id,
        'bos_token_id': pad,
        'eos_token_id': end,
        'pad_token_id': pad,
        'vision_projector_type': 'mlp2x_gelu',
        'vision_hidden_size': shape.encoder.hidden_size,
        'mm_vision_select_layer': -1,
        'use_reconstruct': False,
    }


def _encoder(shape: CheckpointShape, dtype: str) -> dict[str, Any]:
    return {
        'architectures': ['PenguinVLVisionEncoderModel'],
        'model_type': 'penguinvl_vision_encoder',
        **_stack(shape.encoder, dtype),
        'num_channels': shape.channels,
        'patch_size': shape.patch_size,
        'layer_norm_eps': shape.encoder.norm_eps,
    }


def _stack(shape: TransformerShape, dtype: str) -> dict[str, Any]:
    """The Qwen3 keys of one stack of layers."""
    return {
        'hidden_size': shape.hidden_size,
        'intermediate_size': shape.ffn_size,
        'num_hidden_layers': shape.layers,
        'num_attention_heads': shape.heads,
        'num_key_value_heads': shape.kv_heads,
        'head_dim': shape.head_dim,
        'hidden_act': 'silu',
        'rms_norm_eps': shape.norm_eps,
        'rope_theta': shape.rope_theta,
        'rope_scaling': None,
        'attention_bias': False,
        'attention_dropout': 0.0,
        'use_sliding_window': False,
        'torch_dtype': dtype,
    }


DTYPES = {'float32': 'F32', 'bfloat16': 'BF16', 'float16': 'F16'}
LAYOUTS = ('nested', 'flat')
ENCODER_CONFIGS = ('folder', 'inside', 'none')
MAX_SHARDS = 64

PROCESSOR = ProcessorShape((0.5,) * 3, (0.5,) * 3, 1 / 255, 16, 16384, 14, 1, 2, 1.0, 180)
ENCODER = TransformerShape(28, 1024, 3072, 16, 8, 128, 1e6, 1e-6)
SHAPES = {
    'tiny': CheckpointShape(
        llm=TransformerShape(3, 64, 160, 4, 2, 24, 1e6, 1e-6),
        encoder=TransformerShape(3, 48, 96, 4, 2, 16, 1e6, 1e-6),
        channels=3,
        patch_size=14,
        vocabulary_size=640,
        image_token_id=0,
        is_tied=True,
        stop_token_ids=(),
        max_positions=4096,
        processor=PROCESSOR,
    ),
    '2b': CheckpointShape(
        llm=TransformerShape(28, 2048, 6144, 16, 8, 128, 1e6, 1e-6),
        encoder=ENCODER,
        channels=3,
        patch_size=14,
        vocabulary_size=151936,
        image_token_id=0,
        is_tied=True,
        stop_token_ids=(),
        max_positions=40960,
        processor=PROCESSOR,
    ),
    '8b': CheckpointShape(
        llm=TransformerShape(36, 4096, 12288, 32, 8, 128, 1e6, 1e-6),
        encoder=ENCODER,
        channels=3,
        patch_size=14,
        vocabulary_size=151936,
        image_token_id=0,
        is_tied=False,
        stop_token_ids=(),
        max_positions=40960,
        processor=PROCESSOR,
    ),
}
"""By name: tiny for tests, the other two as large as the published models (4 and 17 GB in
bfloat16). The token ids come from the tokenizer that is written along. In tiny, head_dim is not
hidden_size / heads anywhere.
"""


@dataclass(frozen=True)
class Variant:
    """What published checkpoints differ in: where the encoder's configuration lies ('folder' beside
    the weights, 'inside' config.json, or 'none'), how many weight files there are, and whether the
    head is the embedding; None: as the shape has it.
    """

    encoder_config: str = 'folder'
    shards: int = 1
    is_tied: bool | None = None


def write_random_checkpoint(
    folder: str | Path,
    shape: str = 'tiny',
    seed: int = 0,
    layout: str = 'nested',
    dtype: str = 'float32',
    variant: Variant | None = None,
) -> Path:
    """Writes a checkpoint into `folder`, which must not exist yet or be empty, and returns its
    path.

    It appears complete or not at all. CheckpointError when it cannot be written. `shape` is one of
    SHAPES, `layout` of LAYOUTS, `dtype` of DTYPES; `seed` from 0.
    """
    variant, folder = variant or Variant(), Path(folder)
    for value, choices in (
        (shape, tuple(SHAPES)),
        (layout, LAYOUTS),
        (dtype, tuple(DTYPES)),
        (variant.encoder_config, ENCODER_CONFIGS),
        (variant.shards, range(1, MAX_SHARDS + 1)),
    ):
        if value not in choices:
            raise CheckpointError(
                f'no random checkpoint with {value!r}', f'known: {", ".join(map(str, choices))}'
            )
    tokenizer = random_tokenizer()
    is_tied = SHAPES[shape].is_tied if variant.is_tied is None else variant.is_tied
    numbers = _with_tokens(replace(SHAPES[shape], is_tied=is_tied), tokenizer)
    weights = RandomWeights(seed, numbers, word_ids(tokenizer))

    def fill(draft: Path) -> None:
        write_tokenizer(draft, tokenizer)
        write_configuration(draft, numbers, variant.encoder_config, dtype)
        _write_weights(
            draft, _Published(weights, numbers, layout == 'nested', DTYPES[dtype]), variant.shards
        )

    _write_whole(folder, fill)
    return folder


def _with_tokens(shape: CheckpointShape, tokenizer: dict[str, Any]) -> CheckpointShape:
    ids = {token['content']: token['id'] for token in tokenizer['added_tokens']}
    return replace(
        shape,
        image_token_id=ids['<image>'],
        stop_token_ids=(ids['<|im_end|>'], ids['<|endoftext|>']),
    )


def _write_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills the folder so that an interrupted run leaves nothing that loads."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise CheckpointError(
                f'{folder} is not empty', 'nothing is overwritten', 'Name a new folder'
            )
        with atomic_folder(folder) as staging:
            fill(staging)
    except OSError as error:
        raise CheckpointError(
            f'{folder} cannot be written', str(error), 'Name a folder on a disk with space'
        ) from error


class _Published:
    """The tensors under their published names, the patch embedding with four dimensions, without
    the head when it is tied.
    """

    def __init__(
        self, weights: RandomWeights, shape: CheckpointShape, is_nested: bool, dtype: str
    ) -> None:
        self._weights, self._dtype = weights, dtype
        self._canonical = {
            published_name(name, is_nested): name
            for name in weights.names()
            if name != HEAD or not shape.is_tied
        }
        self._patch = (shape.channels, shape.patch_size, shape.patch_size)

    def entries(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Number format and shape by name."""
        shapes = {
            published: self._weights.shape(name) for published, name in self._canonical.items()
        }
        return {
            published: (
                self._dtype,
                (size[0], *self._patch) if self._canonical[published] == PATCH_EMBEDDING else size,
            )
            for published, size in shapes.items()
        }

    def read(self, published: str) -> Iterator[NDArray[Any]]:
        """Values in their storage type, in pieces."""
        for values in self._weights.pieces(self._canonical[published]):
            yield narrowed(self._dtype, values)[1]


def _write_weights(folder: Path, tensors: _Published, shards: int) -> None:
    entries = tensors.entries()
    if shards == 1:
        stream_safetensors(folder / SINGLE, entries, tensors.read)
        return
    names = sorted(entries)
    files: dict[str, str] = {}
    for shard in range(shards):
        file = f'model-{shard + 1:05}-of-{shards:05}.safetensors'
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        stream_safetensors(folder / file, {name: entries[name] for name in part}, tensors.read)
        files |= dict.fromkeys(part, file)
    total = sum(math.prod(shape) * STORAGE[dtype].itemsize for dtype, shape in entries.values())
    write_json(folder / INDEX, {'metadata': {'total_size': total}, 'weight_map': files})
