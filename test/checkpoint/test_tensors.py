# SPDX-License-Identifier: Apache-2.0
"""Tensors: canonical names, exact widening, memory mapping, and a list of everything that does not
fit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from support.rewriting import Tensors, edited, published_tensors, with_tensors, with_value

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.errors import CheckpointTensorError
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint


def test_names_are_canonical(tiny_checkpoint: Path) -> None:
    names = set(open_checkpoint(tiny_checkpoint).tensors.names())
    assert {
        'encoder.patch_embedding.weight',
        'encoder.patch_embedding.bias',
        'encoder.norm.weight',
        'projector.0.weight',
        'projector.2.bias',
        'llm.embed_tokens.weight',
        'llm.norm.weight',
        'llm.lm_head.weight',
        'encoder.layers.2.self_attn.q_norm.weight',
        'llm.layers.2.mlp.down_proj.weight',
    } <= names
    assert len(names) == 2 * 3 * 11 + 10


def test_values_are_those_that_the_safetensors_library_reads(golden_dir: Path) -> None:
    tensors = open_checkpoint(golden_dir / 'checkpoint').tensors
    with safe_open(golden_dir / 'checkpoint' / 'model-00001-of-00002.safetensors', 'numpy') as file:
        patch = file.get_tensor(
            'model.vision_encoder.vision_encoder.embeddings.patch_embedding.weight'
        )
        keys = file.get_tensor('model.layers.1.self_attn.k_proj.weight')
    np.testing.assert_array_equal(
        tensors.read('encoder.patch_embedding.weight'), patch.reshape(48, 588)
    )
    np.testing.assert_array_equal(tensors.read('llm.layers.1.self_attn.k_proj.weight'), keys)


def test_read_gives_a_copy_that_may_be_changed(tiny_checkpoint: Path) -> None:
    tensors = open_checkpoint(tiny_checkpoint).tensors
    values = tensors.read('llm.norm.weight')
    before = values.copy()
    values += 1
    np.testing.assert_array_equal(tensors.read('llm.norm.weight'), before)


def test_raw_values_are_mapped_and_read_only(tiny_checkpoint: Path) -> None:
    dtype, values = open_checkpoint(tiny_checkpoint).tensors.read_raw('llm.embed_tokens.weight')
    assert (dtype, values.shape, values.dtype) == ('F32', (640, 64), np.float32)
    assert not values.flags.writeable
    base = values
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_every_bfloat16_widens_exactly() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    values = widened('BF16', bits)
    np.testing.assert_array_equal(values.view(np.uint32), bits.astype(np.uint32) << 16)
    assert values[0x3F80] == 1.0
    assert values[0xC049] == -3.140625
    assert np.isposinf(values[0x7F80])
    assert np.isnan(values[0x7FC0])


def test_every_float16_widens_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(widened('F16', halves).astype(np.float16), halves)


@pytest.mark.parametrize(
    'dtype, tag, relative', [('bfloat16', 'BF16', 2**-8), ('float16', 'F16', 2**-10)]
)
def test_short_formats_are_read_as_stored(
    tmp_path: Path, tiny_checkpoint: Path, dtype: str, tag: str, relative: float
) -> None:
    short = open_checkpoint(write_random_checkpoint(tmp_path / dtype, dtype=dtype)).tensors
    assert {short.dtype(name) for name in short.names()} == {tag}
    stored, values = short.read_raw('llm.layers.0.mlp.up_proj.weight')
    assert (stored, values.itemsize) == (tag, 2)
    np.testing.assert_array_equal(
        widened(stored, values), short.read('llm.layers.0.mlp.up_proj.weight')
    )
    exact = open_checkpoint(tiny_checkpoint).tensors.read('llm.layers.0.mlp.up_proj.weight')
    np.testing.assert_allclose(
        short.read('llm.layers.0.mlp.up_proj.weight'), exact, rtol=relative, atol=1e-7
    )


def test_rotary_buffers_are_ignored(folder: Path) -> None:
    tensors = published_tensors(folder)
    buffer = ('F32', np.ones(12, np.float32))
    tensors |= {
        'model.rotary_emb.inv_freq': buffer,
        'model.layers.0.self_attn.rotary_emb.inv_freq': buffer,
        'model.vision_encoder.vision_encoder.encoder.rotary_emb.inv_freq': buffer,
    }
    assert len(open_checkpoint(with_tensors(folder, tensors)).tensors.names()) == 76


def test_all_that_does_not_fit_is_listed_at_once(folder: Path) -> None:
    tensors = published_tensors(folder)
    del tensors['model.norm.weight'], tensors['model.layers.1.mlp.up_proj.weight']
    tensors['model.layers.9.mlp.up_proj.weight'] = ('F32', np.ones((160, 64), np.float32))
    tensors['model.lm_head.weight'] = tensors['adapter'] = ('F32', np.ones(1, np.float32))
    tensors['model.embed_tokens.weight'] = ('F32', np.ones((639, 64), np.float32))
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(with_tensors(folder, tensors))
    assert caught.value.missing == ('model.layers.1.mlp.up_proj.weight', 'model.norm.weight')
    assert caught.value.unexpected == (
        'adapter',
        'model.layers.9.mlp.up_proj.weight',
        'model.lm_head.weight',
    )
    assert caught.value.misshaped == ('model.embed_tokens.weight (is 639x64, must be 640x64)',)
    for name in (*caught.value.missing, *caught.value.unexpected, *caught.value.misshaped):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    'edit, missing',
    [
        (lambda names: [n for n in names if 'embed_tokens' in n], 1),
        (lambda names: [n for n in names if 'q_norm' in n], 6),
        (lambda names: [n for n in names if 'vision' in n], 40),
        (lambda names: names, 75),
    ],
)
def test_missing_tensors_are_counted_whichever_they_are(
    folder: Path, edit: Callable[[list[str]], list[str]], missing: int
) -> None:
    tensors = published_tensors(folder)
    for name in edit(list(tensors)):
        del tensors[name]
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(with_tensors(folder, tensors))
    assert len(caught.value.missing) == missing


def test_a_configuration_for_other_weights_is_refused(folder: Path) -> None:
    with_value(folder / 'config.json', 'num_hidden_layers', 4)
    with_value(folder / 'penguin-encoder' / 'config.json', 'intermediate_size', 97)
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(folder)
    assert len(caught.value.missing) == 11
    assert len(caught.value.misshaped) == 9


def test_missing_names_are_told_in_the_layout_of_the_checkpoint(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / 'flat', layout='flat')
    tensors: Tensors = published_tensors(folder)
    del tensors['model.vision_encoder.encoder.norm.weight']
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(with_tensors(folder, tensors))
    assert caught.value.missing == ('model.vision_encoder.encoder.norm.weight',)


def test_number_formats_that_are_not_read_are_named(folder: Path) -> None:
    path = folder / 'model.safetensors'
    path.write_bytes(
        path.read_bytes().replace(
            b'"dtype": "F32", "shape": [64]', b'"dtype": "I32", "shape": [64]', 1
        )
    )
    with pytest.raises(CheckpointTensorError, match='is I32, must be F32, F16, BF16'):
        open_checkpoint(folder)


def test_a_tensor_promised_by_the_index_must_be_in_a_shard(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / 'shards', variant=Variant(shards=3))
    index = folder / 'model.safetensors.index.json'
    edited(
        index,
        lambda values: values['weight_map'].__setitem__(
            'model.extra.weight', 'model-00001-of-00003.safetensors'
        ),
    )
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(folder)
    assert caught.value.missing == ('model.extra.weight',)
