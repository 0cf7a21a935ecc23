# SPDX-License-Identifier: Apache-2.0
"""The LLM as a graph in all variants, against the reference's values and against PyTorch on other
shapes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import VARIANTS, Decoder, built, checkpoint_of, distance, session, stack
from support.needed_packages import onnx, onnxruntime

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.config import ModelConfig

CLOSE = 1e-4
CASES = ('text', 'image_small', 'video_compressed')
SHAPES = {
    'wide heads, untied': {
        'llm': stack(heads=4, kv_heads=2, head_dim=24, hidden=40, ffn=56),
        'is_tied': False,
    },
    'one key head': {'llm': stack(heads=6, kv_heads=1, head_dim=8)},
    'no groups, odd vocabulary': {
        'llm': stack(heads=3, kv_heads=3, head_dim=16, layers=1),
        'vocabulary_size': 641,
    },
    'flat layout, bfloat16': {
        'llm': stack(heads=8, kv_heads=4, head_dim=12),
        'layout': 'flat',
        'dtype': 'bfloat16',
    },
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('chunk, padding', [(1000, 0), (17, 64)], ids=['whole', 'chunks, padded'])
def test_logits_are_those_of_the_reference(
    golden_dir: Path,
    golden_bundles: dict[str, Bundle],
    name: str,
    variant: str,
    chunk: int,
    padding: int,
) -> None:
    """The choice agrees at every position of the prompt, the numbers at its end and at every later
    step.
    """
    decoder = Decoder(golden_bundles[VARIANTS[variant]], variant)
    with np.load(golden_dir / 'cases' / f'{name}.npz') as case:
        ids = case['input_ids'][0]
        embeds = decoder.embed(ids)
        if 'projected' in case:
            embeds[ids == golden_bundles['tensorrt'].shape.image_token_id] = case['projected']
        choices: list[int] = []
        for first in range(0, len(ids), chunk):
            part = embeds[first : first + chunk]
            length = -(-(first + len(part)) // padding) * padding if padding else 0
            logits = decoder.append(part, length=length)
            choices += logits.argmax(-1).tolist()
        assert choices == case['logits_argmax'].ravel().tolist()
        assert distance(logits[-1], case['logits_last']) < CLOSE
        for token, expected in zip(case['generated'].ravel(), case['step_logits'], strict=True):
            assert distance(logits[-1], expected) < CLOSE
            logits = decoder.append(decoder.embed(np.array([token])))


@pytest.mark.parametrize('changes', SHAPES.values(), ids=SHAPES)
def test_other_shapes_agree_with_torch(tmp_path: Path, changes: dict[str, object]) -> None:
    pytest.importorskip('torch', reason='torch is not installed')
    from penguin_ros.backends.torch.backend import TorchBackend

    checkpoint = checkpoint_of(tmp_path / 'c', **changes)
    backend = TorchBackend(
        checkpoint, ModelConfig(device='cpu', precision='float32', max_length=64, threads=1)
    )
    backend.open()
    ids = np.random.default_rng(0).integers(0, 600, 23)
    expected = backend.forward(backend.new_slot(), Chunk(ids), range(23))
    backend.close()
    bundles = {
        name: built(checkpoint, tmp_path / name, name, max_length=64)
        for name in ('onnxruntime', 'tensorrt')
    }
    for variant, name in VARIANTS.items():
        decoder = Decoder(bundles[name], variant)
        logits = np.concatenate(
            [decoder.append(decoder.embed(part)) for part in np.split(ids, (9, 10, 20))]
        )
        assert distance(logits, expected) < 1e-5


@pytest.mark.parametrize('variant', VARIANTS)
def test_only_the_logits_asked_for_come_in_the_order_asked(
    golden_bundles: dict[str, Bundle], variant: str
) -> None:
    bundle, ids = golden_bundles[VARIANTS[variant]], np.arange(20, 31)
    one, other = Decoder(bundle, variant), Decoder(bundle, variant)
    assert (
        distance(one.append(one.embed(ids), [10, 0, 4]), other.append(other.embed(ids))[[10, 0, 4]])
        < 1e-6
    )


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('length', [32, 200])
def test_what_the_mask_hides_has_no_influence(
    golden_bundles: dict[str, Bundle], variant: str, length: int
) -> None:
    """A longer cache, full of other values behind the live positions, gives the same logits."""
    bundle, ids = golden_bundles[VARIANTS[variant]], np.arange(40, 60)
    exact, padded = Decoder(bundle, variant), Decoder(bundle, variant)
    padded.cache[:] = np.random.default_rng(0).standard_normal(padded.cache.shape)
    for part in np.split(ids, (13, 14)):
        expected = exact.append(exact.embed(part))
        assert distance(padded.append(padded.embed(part), length=length), expected) < 1e-6


@pytest.mark.parametrize('variant', ['full', 'window'])
def test_the_cache_is_written_in_place_when_past_and_present_are_one_buffer(
    golden_bundles: dict[str, Bundle], variant: str
) -> None:
    bundle = golden_bundles[VARIANTS[variant]]
    graph, llm = bundle.graph('decoder', variant), bundle.shape.llm
    loaded = session(bundle, graph.file)
    expected = Decoder(bundle, variant)
    ids = np.arange(7, 12)
    logits = expected.append(expected.embed(ids), length=64)
    length = 64 if variant == 'full' else bundle.manifest.max_length
    held = {
        f'{kind}_{index}': onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros((1, llm.kv_heads, length, llm.head_dim), np.float32)
        )
        for kind in ('key', 'value')
        for index in range(llm.layers)
    }
    binding = loaded.io_binding()
    feed = {
        'inputs_embeds': expected.embed(ids)[None],
        'position_ids': np.arange(5)[None],
        'write_indices': np.array([0]),
        'attention_mask': (np.arange(64) <= np.arange(5)[:, None])[None, None],
        'logits_indices': np.arange(5),
    }
    for name, values in feed.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(values))
    for name, value in held.items():
        binding.bind_ortvalue_input(f'past_{name}', value)
        binding.bind_ortvalue_output(f'present_{name}', value)
    binding.bind_output('logits')
    before = {name: value.data_ptr() for name, value in held.items()}
    loaded.run_with_iobinding(binding)
    results = dict(
        zip([*held, 'logits'], binding.get_outputs(), strict=True)
    )  # in the order of binding
    assert distance(results['logits'].numpy()[0], logits) < 1e-6
    for name, value in held.items():
        assert results[name].data_ptr() == before[name] == value.data_ptr()
        assert (
            np.abs(value.numpy()[0, :, :5]).min(axis=-1).max() > 0
            and not value.numpy()[0, :, 5:].any()
        )


@pytest.mark.parametrize('precision', ['float32', 'int8', 'int4'])
@pytest.mark.parametrize('variant', ['window', 'two_part'])
def test_what_a_head_is_filled_up_with_stands_for_no_token(
    tmp_path: Path, variant: str, precision: str
) -> None:
    """There are as many logits as tokens, none of them from the zeros behind."""
    checkpoint = checkpoint_of(
        tmp_path / 'c', llm=stack(4, 2, 32, hidden=128, ffn=128), vocabulary_size=643, is_tied=False
    )
    bundle = built(checkpoint, tmp_path / 'b', 'tensorrt', precision, compute='float32')
    model = onnx.load(bundle.file(bundle.graph('decoder', variant).file))
    head = [tensor for tensor in model.graph.initializer if 'lm_head' in tensor.name]
    widths = [tensor.dims[-1] for tensor in head if not tensor.name.endswith(('.scales', '.zeros'))]
    assert widths == [384, 384]
    decoder = Decoder(bundle, variant)
    logits = decoder.append(decoder.embed(np.arange(9)))
    assert logits.shape == (9, 643) and np.abs(logits).max(axis=0).all()
    decoder = Decoder(bundle, variant)
    assert distance(decoder.append(decoder.embed(np.arange(9)), [2, 5]), logits[[2, 5]]) < 1e-6
