# SPDX-License-Identifier: Apache-2.0
"""Which graphs each TensorRT version takes: every variant and precision that is built, and graphs
that break one rule each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

onnx = pytest.importorskip('onnx', reason='onnx is not installed')

from onnx import TensorProto, helper

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import PRECISIONS, ROWWISE, BuildChoice
from penguin_ros.export.tensorrt.graph import Constants, tensorrt_copy
from penguin_ros.export.tensorrt.operators import problems

VERSIONS = ((10, 3), (10, 13), (10, 16), (11, 4))
PLAIN, FUSED = ('two_part', 'plain', 'plain_half'), ('window', 'fused')


@pytest.fixture(scope='module', params=[name for name in PRECISIONS if name != ROWWISE])
def bundle_folder(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle for TensorRT in each precision."""
    order = BuildOrder(BuildChoice('tensorrt', request.param), max_length=256)
    return build_bundle(
        open_checkpoint(tiny_checkpoint), tmp_path_factory.mktemp('lint') / request.param, order
    )


def found(
    folder: Path,
    file: str,
    version: tuple[int, int],
    is_decomposable: bool = False,
    has_zero_points: bool = True,
) -> list[str]:
    features = 'bfloat16' if file.startswith('vision') else ''
    model = tensorrt_copy(folder / file, is_decomposable, features, has_zero_points)
    return problems(model, version, Constants(model, folder))


def test_graphs_of_old_operators_suit_every_version(bundle_folder: Path) -> None:
    graphs = [
        graph for graph in open_bundle(bundle_folder).manifest.graphs if graph.variant in PLAIN
    ]
    assert {graph.part for graph in graphs} == {'decoder', 'vision'}
    assert [
        why
        for graph in graphs
        for version in VERSIONS
        for has_zero_points in (True, False)
        for why in found(bundle_folder, graph.file, version, has_zero_points=has_zero_points)
    ] == []


def test_graphs_of_fused_operators_suit_10_15_and_later(bundle_folder: Path) -> None:
    graphs = [
        graph for graph in open_bundle(bundle_folder).manifest.graphs if graph.variant in FUSED
    ]
    assert {graph.part for graph in graphs} == {'decoder', 'vision'}
    for graph in graphs:
        for is_decomposable in (False, True):
            assert [
                why
                for version in VERSIONS[2:]
                for why in found(bundle_folder, graph.file, version, is_decomposable)
            ] == []
        for version in VERSIONS[:2]:
            words = ' '.join(found(bundle_folder, graph.file, version))
            assert 'RMSNormalization' in words and 'Attention' in words and '10.15' in words
            assert (
                ('TensorScatter' in words)
                == ('RotaryEmbedding' in words)
                == (graph.part == 'decoder')
            )


# --- one broken rule each -------------------------------------------------------------------------


def model_of(
    *nodes: onnx.NodeProto,
    inputs: dict[str, list[int | str]],
    outputs: tuple[str, ...] = ('y',),
    opset: int = 24,
    constants: tuple[onnx.TensorProto, ...] = (),
) -> onnx.ModelProto:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_model(
        helper.make_graph(list(nodes), 'g', values, results, list(constants)),
        opset_imports=[helper.make_opsetid('', opset)],
    )


def integers(name: str, *values: int) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def dequantize(
    values: tuple[int, ...],
    scales: list[float],
    shape: tuple[int, ...],
    kind: int = TensorProto.INT8,
    zeros: list[int] | None = None,
) -> onnx.ModelProto:
    constants = [
        helper.make_tensor('w', kind, values, [1] * (values[0] * values[1])),
        helper.make_tensor('s', TensorProto.FLOAT, shape, scales),
    ]
    names = ['w', 's']
    if zeros is not None:
        constants.append(helper.make_tensor('z', kind, shape, zeros))
        names.append('z')
    axis = 0 if len(shape) > 1 else 1
    return model_of(
        helper.make_node('DequantizeLinear', names, ['d'], axis=axis),
        helper.make_node('Mul', ['x', 'd'], ['y']),
        inputs={'x': [1]},
        constants=tuple(constants),
        opset=21,
    )


def attention(inputs: int, **attributes: int) -> onnx.ModelProto:
    names = ['q', 'k', 'v', 'm', 'past_k', 'past_v', 'lengths'][:inputs]
    return model_of(
        helper.make_node('Attention', names, ['y'], **attributes),
        inputs={name: [1, 2, 3, 4] for name in names},
    )


def scatter(length: int | str, **attributes: object) -> onnx.ModelProto:
    return model_of(
        helper.make_node('TensorScatter', ['c', 'n', 'i'], ['y'], **attributes),
        inputs={'c': [1, 2, length, 4], 'n': [1, 2, 1, 4], 'i': [1]},
    )


def sliced_by_data() -> onnx.ModelProto:
    return model_of(
        helper.make_node('Slice', ['x', 'zero', 'end', 'axis'], ['y']),
        inputs={'x': [1, 'n'], 'end': [1]},
        constants=(integers('zero', 0), integers('axis', 1)),
    )


def sliced_by_shape() -> onnx.ModelProto:
    return model_of(
        helper.make_node('Shape', ['m'], ['end'], start=0, end=1),
        helper.make_node('Slice', ['x', 'zero', 'end', 'axis'], ['y']),
        inputs={'x': [1, 'n'], 'm': ['k']},
        constants=(integers('zero', 0), integers('axis', 1)),
    )


BROKEN: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    'zero point': (
        lambda: dequantize((4, 2), [1.0] * 2, (2,), zeros=[0, 3]),
        'zero points must be zero',
    ),
    'scale of zero': (lambda: dequantize((4, 2), [1.0, 0.0], (2,)), 'not positive'),
    'int4 without zero points': (
        lambda: dequantize((4, 2), [1.0] * 4, (2, 2), TensorProto.INT4),
        'zero points of int4',
    ),
    'odd int4': (lambda: dequantize((4, 3), [1.0] * 6, (2, 3), TensorProto.INT4, [0] * 6), 'odd'),
    'two blocked dimensions': (
        lambda: dequantize((4, 4), [1.0] * 4, (2, 2), zeros=[0] * 4),
        'divide one dimension',
    ),
    'a partial block': (
        lambda: dequantize((5, 2), [1.0] * 6, (3, 2), zeros=[0] * 6),
        'divide one dimension',
    ),
    'too few scales': (lambda: dequantize((4, 4), [1.0] * 3, (3,)), 'one scale per output'),
    'past and present': (lambda: attention(6), 'ignored without a message'),
    'lengths': (lambda: attention(7), 'ignored without a message'),
    'causal': (lambda: attention(4, is_causal=1), 'give a mask'),
    'dynamic cache': (lambda: scatter('n'), 'must be fixed'),
    'another axis': (lambda: scatter(8, axis=1), 'axis 2'),
    'circular': (lambda: scatter(8, mode='circular'), 'axis 2'),
    'sliced by data': (sliced_by_data, 'not from data'),
    'unused input': (
        lambda: model_of(helper.make_node('Sqrt', ['x'], ['y']), inputs={'x': [1], 'n': [1]}),
        'nothing reads it',
    ),
    'unknown operator': (
        lambda: model_of(helper.make_node('Gelu', ['x'], ['y']), inputs={'x': [1]}),
        'known to take',
    ),
    'contrib operator': (
        lambda: model_of(
            helper.make_node('MatMulNBits', ['x'], ['y'], domain='com.microsoft'), inputs={'x': [1]}
        ),
        'known to take',
    ),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_graph_that_breaks_a_rule_is_named_for_every_version(name: str, tmp_path: Path) -> None:
    make, words = BROKEN[name]
    model = make()
    for version in VERSIONS[2:]:
        assert any(words in why for why in problems(model, version, Constants(model, tmp_path)))


@pytest.mark.parametrize(
    'make',
    [
        lambda: dequantize((4, 2), [1.0] * 2, (2,)),
        lambda: dequantize((4, 4), [1.0] * 8, (2, 4), TensorProto.INT4, [0] * 8),
        lambda: attention(4),
        lambda: attention(3),
        lambda: scatter(8, axis=2),
        sliced_by_shape,
    ],
)
def test_a_graph_that_keeps_the_rules_is_not(
    make: Callable[[], onnx.ModelProto], tmp_path: Path
) -> None:
    model = make()
    assert problems(model, (11, 4), Constants(model, tmp_path)) == []


def test_an_attribute_that_came_with_a_later_opset_is_seen(tmp_path: Path) -> None:
    """Cast got `saturate` with 19 and `round_mode` with 24."""
    for attribute, value in (('saturate', 1), ('round_mode', 'up')):
        node = helper.make_node('Cast', ['x'], ['y'], to=TensorProto.FLOAT16, **{attribute: value})
        model = model_of(node, inputs={'x': [1]}, opset=24)
        assert bool(problems(model, (10, 3), Constants(model, tmp_path))) == (
            attribute == 'round_mode'
        )
        assert problems(model, (10, 16), Constants(model, tmp_path)) == []
