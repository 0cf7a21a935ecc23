# SPDX-License-Identifier: Apache-2.0
"""How tensors are called in published checkpoints, how this project calls them, and which shape
each must have.

The canonical names are `encoder.patch_embedding.{weight,bias}`, `encoder.layers.N.*`,
`encoder.norm.weight`, `projector.{0,2}.{weight,bias}`, `llm.embed_tokens.weight`, `llm.layers.N.*`,
`llm.norm.weight` and `llm.lm_head.weight`.
"""

from __future__ import annotations

import re

from penguin_ros.checkpoint.shapes import CheckpointShape, TransformerShape

Shape = tuple[int, ...]

EMBEDDING, HEAD = 'llm.embed_tokens.weight', 'llm.lm_head.weight'
PATCH_EMBEDDING = 'encoder.patch_embedding.weight'

# The nested layout comes first: its prefix begins with the flat one's.
_PREFIXES = (
    ('model.vision_encoder.vision_encoder.embeddings.', 'encoder.'),
    ('model.vision_encoder.vision_encoder.encoder.', 'encoder.'),
    ('model.vision_encoder.embeddings.', 'encoder.'),
    ('model.vision_encoder.encoder.', 'encoder.'),
    ('model.vision_projector.readout.', 'projector.'),
    ('lm_head.', 'llm.lm_head.'),
    ('model.', 'llm.'),
)


def canonical_name(published: str) -> str | None:
    """Returns the name used in this project, or None for a name that belongs to neither published
    layout.
    """
    for prefix, replacement in _PREFIXES:
        if published.startswith(prefix):
            canonical = replacement + published[len(prefix) :]
            # Names that only look like ours (model.lm_head.weight, say) do not come back the same.
            return (
                canonical
                if published in (published_name(canonical, True), published_name(canonical, False))
                else None
            )
    return None


def published_name(canonical: str, is_nested: bool = True) -> str:
    """Returns the inverse of `canonical_name` for one of the two published layouts."""
    encoder = 'model.vision_encoder.vision_encoder.' if is_nested else 'model.vision_encoder.'
    if canonical.startswith('encoder.patch_embedding.'):
        return encoder + 'embeddings.' + canonical.removeprefix('encoder.')
    if canonical.startswith('encoder.'):
        return encoder + canonical
    if canonical.startswith('projector.'):
        return 'model.vision_projector.readout.' + canonical.removeprefix('projector.')
    return 'lm_head.weight' if canonical == HEAD else 'model.' + canonical.removeprefix('llm.')


def is_ignored(published: str) -> bool:
    """Returns whether the tensor is a rotary buffer, which is computed instead of read."""
    return re.search(r'(^|\.)rotary_emb\.', published) is not None


def expected_shapes(shape: CheckpointShape) -> dict[str, Shape]:
    """Returns the shape of every tensor of a checkpoint by canonical name, with the head included
    and the patch embedding as a matrix.
    """
    llm, encoder = shape.llm.hidden_size, shape.encoder.hidden_size
    shapes: dict[str, Shape] = {
        PATCH_EMBEDDING: (encoder, shape.patch_values),
        'encoder.patch_embedding.bias': (encoder,),
        'encoder.norm.weight': (encoder,),
        'projector.0.weight': (llm, encoder),
        'projector.0.bias': (llm,),
        'projector.2.weight': (llm, llm),
        'projector.2.bias': (llm,),
        EMBEDDING: (shape.vocabulary_size, llm),
        'llm.norm.weight': (llm,),
        HEAD: (shape.vocabulary_size, llm),
    }
    for prefix, transformer in (('encoder', shape.encoder), ('llm', shape.llm)):
        layer = _layer_shapes(transformer)
        shapes |= {
            f'{prefix}.layers.{index}.{suffix}': size
            for index in range(transformer.layers)
            for suffix, size in layer.items()
        }
    return shapes


def _layer_shapes(shape: TransformerShape) -> dict[str, Shape]:
    hidden = shape.hidden_size
    queries = shape.heads * shape.head_dim
    keys = shape.kv_heads * shape.head_dim
    return {
        'input_layernorm.weight': (hidden,),
        'post_attention_layernorm.weight': (hidden,),
        'self_attn.q_proj.weight': (queries, hidden),
        'self_attn.k_proj.weight': (keys, hidden),
        'self_attn.v_proj.weight': (keys, hidden),
        'self_attn.o_proj.weight': (hidden, queries),
        'self_attn.q_norm.weight': (shape.head_dim,),
        'self_attn.k_norm.weight': (shape.head_dim,),
        'mlp.gate_proj.weight': (shape.ffn_size, hidden),
        'mlp.up_proj.weight': (shape.ffn_size, hidden),
        'mlp.down_proj.weight': (hidden, shape.ffn_size),
    }
