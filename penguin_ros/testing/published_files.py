# SPDX-License-Identifier: Apache-2.0
"""Writes the configuration and tokenizer files of a checkpoint, in the set in which checkpoints are
published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penguin_ros.checkpoint.shapes import CheckpointShape, ProcessorShape, TransformerShape
from penguin_ros.testing.random_tokenizer import ADDED_TOKENS

ENCODER_FOLDER = 'penguin-encoder'


def write_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> None:
    """Writes the tokenizer in each of its published forms."""
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
    """Writes config.json and its companions.

    `encoder_config` says where the encoder's configuration goes: into a 'folder' of its own,
    'inside' config.json, or nowhere ('none').
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
    _write_processor(folder, shape.processor)


def _write_processor(folder: Path, processor: ProcessorShape) -> None:
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
    """Writes one JSON file, in the order of the keys."""
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
    """Returns the Qwen3 keys of one stack of layers."""
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
