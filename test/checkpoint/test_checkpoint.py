# SPDX-License-Identifier: Apache-2.0
"""Opening a checkpoint: both layouts, all places of the encoder's configuration, tying, name and
digest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.rewriting import copied, published_tensors, renamed, with_tensors, with_value, without

from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import CheckpointConfigError, CheckpointNotFound, CheckpointTensorError
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint

NESTED, FLAT = 'model.vision_encoder.vision_encoder.', 'model.vision_encoder.'


def test_golden_checkpoint_has_the_numbers_of_its_files(golden_dir: Path) -> None:
    shape = open_checkpoint(golden_dir / 'checkpoint').shape
    assert (shape.llm.layers, shape.llm.hidden_size, shape.llm.ffn_size) == (3, 64, 160)
    assert (shape.encoder.heads, shape.encoder.kv_heads, shape.encoder.head_dim) == (4, 2, 16)
    assert shape.encoder.head_dim != shape.encoder.hidden_size // shape.encoder.heads
    assert (shape.image_token_id, shape.stop_token_ids, shape.is_tied, shape.vocabulary_size) == (
        404,
        (401, 402),
        True,
        448,
    )
    assert (shape.patch_values, shape.max_positions) == (588, 4096)
    assert (shape.processor.min_tokens, shape.processor.max_tokens) == (16, 16384)
    assert (shape.processor.image_merge_size, shape.processor.video_merge_size) == (1, 2)


def test_both_tensor_layouts_read_the_same(golden_dir: Path, tmp_path: Path) -> None:
    nested = open_checkpoint(golden_dir / 'checkpoint')
    flat_folder = copied(golden_dir / 'checkpoint', tmp_path / 'flat')
    with_tensors(flat_folder, renamed(published_tensors(flat_folder), NESTED, FLAT))
    flat = open_checkpoint(flat_folder)
    assert flat.shape == nested.shape
    assert flat.tensors.names() == nested.tensors.names()
    for name in nested.tensors.names():
        np.testing.assert_array_equal(
            flat.tensors.read(name), nested.tensors.read(name), err_msg=name
        )


def test_mixed_layouts_are_refused(folder: Path) -> None:
    tensors = published_tensors(folder)
    with_tensors(
        folder,
        tensors
        | renamed({name: value for name, value in tensors.items() if 'norm' in name}, NESTED, FLAT),
    )
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(folder)
    assert any('encoder.norm.weight (a second time)' in name for name in caught.value.unexpected)


def test_each_place_of_the_encoder_configuration_gives_the_same_sizes(
    golden_dir: Path, tmp_path: Path
) -> None:
    expected = open_checkpoint(golden_dir / 'checkpoint').shape
    inside, absent = (
        copied(golden_dir / 'checkpoint', tmp_path / name) for name in ('inside', 'absent')
    )
    encoder = (golden_dir / 'checkpoint' / 'penguin-encoder' / 'config.json').read_text()
    text = (inside / 'config.json').read_text().rstrip().removesuffix('}')
    (inside / 'config.json').write_text(f'{text}, "vision_encoder_config": {encoder}}}')
    without(inside / 'config.json', 'vision_encoder')
    without(absent / 'config.json', 'vision_encoder')
    assert open_checkpoint(inside).shape == expected
    assert open_checkpoint(absent).shape == expected


def test_a_changed_encoder_configuration_is_what_counts(folder: Path) -> None:
    with_value(folder / 'penguin-encoder' / 'config.json', 'rope_theta', 5e5)
    with_value(folder / 'penguin-encoder' / 'config.json', 'rms_norm_eps', 1e-5)
    encoder = open_checkpoint(folder).shape.encoder
    assert (encoder.rope_theta, encoder.norm_eps) == (5e5, 1e-5)


def test_sizes_missing_from_the_encoder_configuration_follow_from_the_tensors(folder: Path) -> None:
    expected = open_checkpoint(folder).shape
    for key in (
        'num_hidden_layers',
        'hidden_size',
        'head_dim',
        'num_attention_heads',
        'num_key_value_heads',
        'intermediate_size',
        'patch_size',
        'num_channels',
        'rms_norm_eps',
    ):
        without(folder / 'penguin-encoder' / 'config.json', key)
    assert open_checkpoint(folder).shape == expected


def test_head_dim_follows_from_the_norm_of_the_queries(folder: Path) -> None:
    without(folder / 'config.json', 'head_dim')
    assert open_checkpoint(folder).shape.llm.head_dim == 24


def test_a_tied_head_is_the_embedding(tiny_checkpoint: Path) -> None:
    tensors = open_checkpoint(tiny_checkpoint).tensors
    np.testing.assert_array_equal(
        tensors.read('llm.lm_head.weight'), tensors.read('llm.embed_tokens.weight')
    )
    assert tensors.nbytes() == sum(
        values.nbytes for _, values in published_tensors(tiny_checkpoint).values()
    )


def test_a_tied_checkpoint_may_hold_its_head_as_well(folder: Path) -> None:
    tensors = published_tensors(folder)
    tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
    assert open_checkpoint(with_tensors(folder, tensors)).shape.is_tied


def test_a_tied_checkpoint_with_another_head_is_refused(folder: Path) -> None:
    tensors = published_tensors(folder)
    head = tensors['model.embed_tokens.weight'][1].copy()
    head[-1, -1] += 1
    with pytest.raises(
        CheckpointTensorError, match='lm_head.weight .differs from model.embed_tokens.weight'
    ):
        open_checkpoint(with_tensors(folder, tensors | {'lm_head.weight': ('F32', head)}))


def test_an_untied_checkpoint_has_a_head_of_its_own(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / 'untied', variant=Variant(is_tied=False))
    tensors = open_checkpoint(folder).tensors
    assert not np.array_equal(
        tensors.read('llm.lm_head.weight'), tensors.read('llm.embed_tokens.weight')
    )
    left = {
        name: value for name, value in published_tensors(folder).items() if name != 'lm_head.weight'
    }
    with pytest.raises(CheckpointTensorError) as caught:
        open_checkpoint(with_tensors(folder, left))
    assert caught.value.missing == ('lm_head.weight',)


def test_image_token_of_configuration_and_tokenizer_must_agree(folder: Path) -> None:
    with_value(folder / 'config.json', 'image_token_index', 7)
    with pytest.raises(CheckpointConfigError, match='image_token_index is 7'):
        _ = open_checkpoint(folder).tokenizer


def test_digest_tells_weights_and_configurations_apart(
    tiny_checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    original = open_checkpoint(tiny_checkpoint)
    assert original.digest == open_checkpoint(folder).digest
    assert len(original.digest) == 64
    other_seed = open_checkpoint(write_random_checkpoint(tmp_path / 'other', seed=1))
    with_value(folder / 'penguin-encoder' / 'config.json', 'rope_theta', 5e5)
    assert len({original.digest, other_seed.digest, open_checkpoint(folder).digest}) == 3


def test_name_is_the_folder_s(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_checkpoint(tiny_checkpoint).name == 'tiny'
    monkeypatch.chdir(tiny_checkpoint)
    assert open_checkpoint('.').name == 'tiny'


@pytest.mark.parametrize(
    'source',
    ['/no/such/folder', 'no_such_folder', '', './a/b', 'a/b/c', 'x\0y', 'n' * 5000, '../no such'],
)
def test_what_is_neither_a_folder_nor_a_hub_id_is_named(source: str) -> None:
    with pytest.raises(CheckpointNotFound, match='is no checkpoint'):
        open_checkpoint(source)


def test_no_inference_library_is_imported(tiny_checkpoint: Path) -> None:
    program = (
        'import sys\n'
        'for name in ("torch", "transformers", "onnxruntime", "huggingface_hub"):\n'
        '    sys.modules[name] = None\n'
        'from penguin_ros.checkpoint.checkpoint import open_checkpoint\n'
        f'checkpoint = open_checkpoint({str(tiny_checkpoint)!r})\n'
        'checkpoint.tokenizer.encode_text("a")\n'
        'checkpoint.tensors.read("llm.norm.weight")\n'
        'checkpoint.digest\n'
    )
    subprocess.run(
        [sys.executable, '-c', program], check=True, timeout=60, cwd=Path(__file__).parents[2]
    )
