# SPDX-License-Identifier: Apache-2.0
"""int8 and int4 bundles in ONNX Runtime: every quantised product is fused, and the loss is that of
the weights alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import (
    VARIANTS,
    Decoder,
    Vision,
    built,
    checkpoint_of,
    distance,
    optimised,
    patches,
    stack,
)
from support.needed_packages import onnx
from support.processor import int8_products

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint

WIDE = {
    'llm': stack(4, 2, 32, hidden=128, ffn=256),
    'encoder': stack(4, 2, 32, hidden=128, ffn=256),
    'vocabulary_size': 700,
}
EXACT = {'qdq_matmulnbits_accuracy_level': '1'}
"""Activations stay float32 inside the fused product; by default they are rounded to int8, row by
row.
"""

NEAR = 0.12
"""What rounding to int8, of weights or of activations, may change in these random networks, which
amplify: ||a - b|| / ||b||.
"""


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint with sizes that have blocks of 128."""
    return checkpoint_of(tmp_path_factory.mktemp('wide') / 'c', **WIDE)


@pytest.fixture(scope='module')
def bundles(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The bundles by precision, with activations in float32 everywhere, so that the CPU can run
    them.
    """
    folder = tmp_path_factory.mktemp('bundles')
    made = {
        name: built(checkpoint, folder / name, precision=name)
        for name in ('float32', 'int8', 'int4', 'w8a8')
    }
    gpu = {
        f'{name} gpu': built(
            checkpoint, folder / f'{name}_gpu', 'tensorrt', name, compute='float32', vision='int8'
        )
        for name in ('int8', 'int4')
    }
    return made | gpu


@pytest.mark.parametrize('name', ['int8', 'int4', 'int8 gpu', 'int4 gpu'])
def test_onnxruntime_fuses_every_quantised_product(
    bundles: dict[str, Bundle], tmp_path: Path, name: str
) -> None:
    counted = 0
    for graph in bundles[name].manifest.graphs:
        kinds = optimised(bundles[name], graph.file, tmp_path)
        assert kinds['MatMulNBits'] == graph.quantised
        assert kinds['DequantizeLinear'] == kinds['MatMulInteger'] == 0
        counted += graph.quantised
    assert counted >= 2 * (4 * 2 + 2) + 4 * 2 + 3


def test_every_product_of_w8a8_but_the_head_is_one_of_integers(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    for graph in bundles['w8a8'].manifest.graphs:
        kinds = optimised(bundles['w8a8'], graph.file, tmp_path)
        assert kinds['MatMulNBits'] == (2 if graph.part == 'decoder' else 0)
        assert kinds['MatMulIntegerToFloat'] + kinds['MatMulNBits'] == graph.quantised
        assert kinds['MatMulInteger'] == kinds['DequantizeLinear'] == 0


@pytest.mark.parametrize('fallback', [{'hidden': 40, 'ffn': 72}, {'hidden': 64, 'ffn': 97}])
def test_what_cannot_be_int4_is_fused_too_and_named(
    tmp_path: Path, fallback: dict[str, int]
) -> None:
    checkpoint = checkpoint_of(tmp_path / 'c', llm=stack(4, 2, 16, **fallback))
    bundle = built(checkpoint, tmp_path / 'b', precision='int4')
    exceptions = bundle.manifest.precision.exceptions
    assert exceptions and all(why.startswith('int8: ') for why in exceptions.values())
    for graph in bundle.manifest.graphs:
        assert optimised(bundle, graph.file, tmp_path)['MatMulNBits'] == graph.quantised


def weights_of(bundle: Bundle) -> dict[str, np.ndarray]:
    """Returns quantised matrices as the graph multiplies with them, (inputs, outputs)."""
    graph = bundle.manifest.stages('decoder', 'two_part')[0]
    model = onnx.load(bundle.file(graph.file))
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    matrices = {}
    for node in model.graph.node:
        if node.op_type == 'DequantizeLinear':
            values, scales = (
                onnx.numpy_helper.to_array(found[name]).astype(np.float32)
                for name in node.input[:2]
            )
            if len(node.input) > 2:
                assert not onnx.numpy_helper.to_array(found[node.input[2]]).astype(np.float32).any()
            blocks = scales if scales.ndim == 2 else scales[None]
            matrices[node.input[0]] = values * np.repeat(blocks, len(values) // len(blocks), axis=0)
    return matrices


@pytest.mark.parametrize(
    'name, limit', [('int8', 0.008), ('int4', 0.105), ('int8 gpu', 0.011), ('int4 gpu', 0.105)]
)
def test_stored_matrices_are_those_of_the_checkpoint_up_to_rounding(
    checkpoint: Checkpoint, bundles: dict[str, Bundle], name: str, limit: float
) -> None:
    stored, read = weights_of(bundles[name]), checkpoint.tensors.read
    layer = 'llm.layers.1.'
    expected = {
        layer + 'self_attn.qkv': np.concatenate(
            [read(f'{layer}self_attn.{part}_proj.weight') for part in 'qkv']
        ),
        layer + 'mlp.gate_up': np.concatenate(
            [read(f'{layer}mlp.{part}_proj.weight') for part in ('gate', 'up')]
        ),
        layer + 'mlp.down_proj': read(layer + 'mlp.down_proj.weight'),
    }
    for matrix, weights in expected.items():
        assert 0 < distance(stored[matrix], weights.T) < limit
    # Rows of the head that are larger than others keep their own scale, so it is compared row by
    # row.
    head = np.concatenate([stored['llm.lm_head.0'], stored['llm.lm_head.1']], axis=1).T
    rows = read('llm.lm_head.weight')
    assert not head[len(rows) :].any(), 'what a head is filled up with'
    near = 0.25 if name == 'int4 gpu' else 0.012
    error = np.linalg.norm(head[: len(rows)] - rows, axis=1)
    assert (error < near * np.linalg.norm(rows, axis=1)).all()


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('precision', ['int8', 'int4'])
def test_the_fused_decoder_computes_what_its_operators_say(
    bundles: dict[str, Bundle], variant: str, precision: str
) -> None:
    """The operators one by one multiply with the stored matrices, which another test compares with
    the checkpoint.
    """
    bundle = bundles[precision if VARIANTS[variant] == 'onnxruntime' else f'{precision} gpu']
    ids = np.arange(100, 130)
    decoders = (
        Decoder(bundle, variant, is_plain=True),
        Decoder(bundle, variant, **EXACT),
        Decoder(bundle, variant),
    )
    expected, exact, fast = (decoder.append(decoder.embed(ids)) for decoder in decoders)
    assert distance(exact, expected) < 1e-4
    assert 1e-4 < distance(fast, expected) < NEAR


def test_fused_products_of_integers_compute_what_their_operators_say(
    bundles: dict[str, Bundle],
) -> None:
    """The biases of patch embedding and projector are there, which a fusion could scale by
    mistake.
    """
    frame, ids = patches(4, 4, 6, 2), np.arange(100, 130)
    fused, plain = Vision(bundles['w8a8']), Vision(bundles['w8a8'], is_plain=True)
    for ours, theirs in zip(fused.whole([frame]), plain.whole([frame]), strict=True):
        assert distance(ours, theirs) < 1e-5
    fast, slow = (
        Decoder(bundles['w8a8'], 'full', **EXACT),
        Decoder(bundles['w8a8'], 'full', is_plain=True),
    )
    assert distance(fast.append(fast.embed(ids)), slow.append(slow.embed(ids))) < 1e-3


@pytest.mark.parametrize('precision', ['int8', int8_products])
def test_logits_of_int8_are_near_those_in_float32(
    bundles: dict[str, Bundle], precision: str
) -> None:
    plain, rounded = Decoder(bundles['float32'], 'full'), Decoder(bundles[precision], 'full')
    ids = np.arange(100, 130)
    assert (
        1e-4 < distance(rounded.append(rounded.embed(ids)), plain.append(plain.embed(ids))) < NEAR
    )


@pytest.mark.parametrize('precision', ['int8', 'int4', int8_products])
def test_features_are_near_those_in_float32(bundles: dict[str, Bundle], precision: str) -> None:
    frame = patches(4, 4, 6, 2)
    expected = Vision(bundles['float32']).whole([frame])
    for got in (
        Vision(bundles[precision]).whole([frame]),
        Vision(bundles[precision]).in_stages([frame], 8),
    ):
        assert all(
            1e-5 < distance(ours, theirs) < NEAR for ours, theirs in zip(got, expected, strict=True)
        )


@pytest.mark.parametrize('precision', ['int8', 'int4', 'w8a8'])
def test_the_result_of_a_row_depends_on_no_later_row(
    bundles: dict[str, Bundle], precision: str
) -> None:
    """Activations are rounded row by row, if at all: another end of the chunk leaves the first rows
    as they were.
    """
    logits = []
    for other in (5, 300):
        decoder = Decoder(bundles[precision], 'full')
        embeds = decoder.embed(np.array([*range(50, 62), other, other + 1, other + 2]))
        embeds[12:] *= 30
        logits.append(decoder.append(embeds))
    assert np.array_equal(logits[0][:12], logits[1][:12])
    assert distance(logits[0][12:], logits[1][12:]) > 0.01


@pytest.mark.parametrize('precision', ['int8', 'w8a8'])
def test_a_frame_has_the_same_features_in_any_company(
    bundles: dict[str, Bundle], precision: str
) -> None:
    vision, frames = Vision(bundles[precision]), [patches(seed, 4, 6, 2) for seed in range(2)]
    loud = patches(9, 4, 6, 2)
    loud.pixels[:] *= 50
    with_one, with_other = (
        vision.whole([frames[0], frames[1]])[1],
        vision.whole([frames[0], loud])[1],
    )
    assert np.array_equal(with_one[0], with_other[0])


def test_float16_bundles_run_and_are_near_float32(
    checkpoint: Checkpoint, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    ids, frame = np.arange(100, 130), patches(4, 4, 6, 2)
    plain = Decoder(bundles['float32'], 'full')
    expected = plain.append(plain.embed(ids))
    for backend in ('onnxruntime', 'tensorrt'):
        bundle = built(checkpoint, tmp_path / backend, backend, 'float16')
        for variant in (variant for variant, name in VARIANTS.items() if name == backend):
            half = Decoder(bundle, variant)
            assert distance(half.append(half.embed(ids)).astype(np.float32), expected) < 0.02
        features = Vision(bundle).whole([frame])
        assert (
            distance(features[1].astype(np.float32), Vision(bundles['float32']).whole([frame])[1])
            < 0.01
        )
