# SPDX-License-Identifier: Apache-2.0
"""Which variant is built for which TensorRT, and what happens when it does not build.

On a fake GPU with fake TensorRTs of several versions; test/tensorrt_wheels builds with a real
builder.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_gpu.bundles import OPTIONS
from support.fake_gpu.engine import BuiltEngine
from support.fake_gpu.installed import Machine, remove, use
from support.tensorrt_build_checks import COMMAND, files, kinds, runs

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.engine_manifest import read_engine_manifest
from penguin_ros.errors import (
    BuildError,
    BuildRefused,
    BundleNotFound,
)
from penguin_ros.export.tensorrt.build import build_engines


@pytest.mark.parametrize(
    ('version', 'expected'),
    [
        ('10.3.0', ('two_part', 'plain')),
        ('10.13.3.9', ('two_part', 'plain')),
        ('10.16.2.10', ('window', 'fused')),
        ('11.4.1.6', ('window', 'fused')),
    ],
)
def test_the_variant_follows_from_what_the_library_can_do(
    bundle: Path, version: str, expected: tuple[str, str]
) -> None:
    use(Machine(version))
    record = build_engines(bundle, OPTIONS)
    assert (record.tensorrt, record.gpu.name, record.gpu.compute) == (version, 'Fake Orin', '8.7')
    variants = {engine.part: (engine.variant, engine.is_decomposable) for engine in record.engines}
    assert variants == {'decoder': (expected[0], False), 'vision': (expected[1], False)}
    assert read_engine_manifest(bundle) == record and runs(bundle).shape == (1, 640)
    remove()


def test_attention_without_a_kernel_is_taken_apart(bundle: Path, machine: Machine) -> None:
    def refuses(model: Any) -> str:
        marked = any(
            entry.name == 'TRT_decomposable'
            for node in model.graph.node
            for entry in node.attribute
        )
        return '' if marked else 'Attention operation was not supported by a dedicated kernel'

    machine.refuses = refuses
    record = build_engines(bundle, OPTIONS)
    assert [(engine.variant, engine.is_decomposable) for engine in record.engines] == [
        ('window', True),
        ('fused', True),
    ]
    assert all(
        'not supported by a dedicated kernel' in engine.failures[0] for engine in record.engines
    )
    assert np.isfinite(runs(bundle)).all()


def test_where_no_fused_graph_builds_the_plain_ones_do(bundle: Path, machine: Machine) -> None:
    machine.refuses = lambda model: 'no' if 'Attention' in kinds(model) else ''
    record = build_engines(bundle, OPTIONS)
    assert [(engine.variant, len(engine.failures)) for engine in record.engines] == [
        ('two_part', 4),
        ('plain', 2),
    ]
    assert np.isfinite(runs(bundle)).all()


def test_when_nothing_builds_the_error_has_every_reason_and_nothing_is_left(
    bundle: Path, machine: Machine
) -> None:
    machine.refuses = lambda model: f'no tactic for {len(model.graph.node)} nodes'
    with pytest.raises(BuildError) as caught:
        build_engines(bundle, OPTIONS)
    text = str(caught.value)
    assert text.count('no tactic for') == 6 and 'two_part' in text and 'decomposable' in text
    assert files(bundle) == {}
    with pytest.raises(BundleNotFound, match=COMMAND):
        runs(bundle)


@pytest.mark.parametrize('precision', ['float32', 'float16', 'int4'])
def test_decoding_is_built_for_one_row(
    graphs: dict[str, Path], tmp_path: Path, machine: Machine, precision: str
) -> None:
    """Float weights, which would lie in the engine twice, are kept from a second copy."""
    folder = Path(shutil.copytree(graphs[precision], tmp_path / 'bundle'))
    decoder = build_engines(folder, OPTIONS).engine('decoder')
    assert decoder is not None
    assert [profile['rows'] for profile in decoder.profiles] == [(1, 1, 1), (2, 48, 48)]
    assert decoder.profiles[1]['length'] == (256, 272, 272)
    plan = BuiltEngine.of((folder / 'tensorrt' / decoder.file).read_bytes())
    assert plan is not None and plan.aux_streams == 0
    assert plan.extra_memory == ([1.0, 1.0] if precision == 'int4' else [1.0, 0.0])


@pytest.mark.parametrize(
    ('precision', 'expected'),
    [
        (
            'float16',
            [
                'window, one copy of the weights',
                'window, decomposable, one copy of the weights',
                'window, decoding 1 to 8 tokens',
                'window, decomposable, decoding 1 to 8 tokens',
                'two_part, one copy of the weights',
                'two_part, decoding 1 to 8 tokens',
            ],
        ),
        (
            'int4',
            [
                'window',
                'window, decomposable',
                'window, one copy of the weights',
                'window, decomposable, one copy of the weights',
                'window, decoding 1 to 8 tokens',
                'window, decomposable, decoding 1 to 8 tokens',
                'two_part',
                'two_part, one copy of the weights',
                'two_part, decoding 1 to 8 tokens',
                'window, without zero points',
                'two_part, without zero points',
            ],
        ),
    ],
)
def test_one_row_is_tried_in_every_way_before_a_range_of_rows(
    graphs: dict[str, Path], machine: Machine, precision: str, expected: list[str]
) -> None:
    from penguin_ros.export.tensorrt.candidates import candidates

    use(machine)
    manifest = open_bundle(graphs[precision]).manifest
    assert [str(one) for one in candidates('decoder', manifest)] == [
        f'decoder: {form}' for form in expected
    ]
    assert [str(one) for one in candidates('vision', manifest)] == [
        f'vision: {form}' for form in ('fused', 'fused, decomposable', 'plain_half', 'plain')
    ]


def test_a_form_is_tried_on_two_layers_before_all_of_them(bundle: Path, machine: Machine) -> None:
    """What fails there costs no build of the whole network, and there is one whole build a part."""

    def layers(model: Any) -> int:
        scopes = {node.name.partition('/')[0] for node in model.graph.node}
        return sum(scope.startswith('layers.') for scope in scopes)

    machine.refuses = lambda model: 'no' if 'Attention' in kinds(model) else ''
    build_engines(bundle, OPTIONS)
    assert [layers(model) for model in machine.built] == [*[2] * 5, 3, *[2] * 3, 3]
    assert np.isfinite(runs(bundle)).all()


def test_int4_without_zero_points_is_the_last_way(
    graphs: dict[str, Path], tmp_path: Path, machine: Machine
) -> None:
    folder = Path(shutil.copytree(graphs['int4'], tmp_path / 'bundle'))
    machine.refuses = lambda model: (
        'zero points' if 'TRT_INT4DequantizeLinear' not in kinds(model) else ''
    )
    with pytest.raises(BuildError, match='vision'):  # which has no int4 that could be refused
        build_engines(folder, OPTIONS)
    decoder = [model for model in machine.built if model.graph.name.startswith('decoder')][-1]
    own = [node for node in decoder.graph.node if node.op_type == 'TRT_INT4DequantizeLinear']
    assert len(own) == 14 and {(node.domain, len(node.input)) for node in own} == {('trt', 2)}
    machine.refuses = lambda model: (
        'zero points'
        if 'DequantizeLinear' in kinds(model) and model.graph.name.startswith('decoder')
        else ''
    )
    record = build_engines(folder, OPTIONS)
    engine = record.engine('decoder')
    assert engine is not None and engine.variant == 'window' and len(engine.failures) == 9
    assert np.isfinite(runs(folder)).all()


def test_softmax_without_float32_is_taken_when_the_features_agree(
    graphs: dict[str, Path], tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(graphs['float16'], tmp_path / 'bundle'))
    machine.refuses = lambda model: 'no' if 'Attention' in kinds(model) else ''
    engine = build_engines(folder, OPTIONS).engine('vision')
    assert engine is not None and (engine.variant, len(engine.failures)) == ('plain_half', 2)
    assert np.isfinite(runs(folder)).all()
    monkeypatch.setattr('penguin_ros.export.tensorrt.agreement.MAX_DISTANCE', 1e-9)
    engine = build_engines(folder, replace(OPTIONS, is_forced=True)).engine('vision')
    assert engine is not None and engine.variant == 'plain'
    assert 'the features are not those of softmax in float32' in engine.failures[2]
    assert not list((folder / 'tensorrt').glob('*.wide'))


def test_the_variant_can_be_chosen_unless_the_library_lacks_it(
    bundle: Path, machine: Machine
) -> None:
    record = build_engines(bundle, replace(OPTIONS, variant='two_part'))
    assert [engine.variant for engine in record.engines] == ['two_part', 'plain']
    with pytest.raises(BuildRefused, match="variant 'old'"):
        build_engines(bundle, replace(OPTIONS, variant='old'))
    use(Machine('10.13.3'))
    with pytest.raises(BuildRefused, match=r'10.15 or later.*JetPack 7.2'):
        build_engines(bundle, replace(OPTIONS, variant='window'))


def test_a_plan_that_holds_its_weights_twice_is_not_taken(
    bundle: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penguin_ros.export.tensorrt import candidates

    monkeypatch.setattr(candidates, 'KERNEL_BYTES', 0)
    monkeypatch.setattr(candidates, 'weight_bytes', lambda model: 100_000)
    with pytest.raises(BuildError, match=r'too large: .* MB for 0.1 MB of weights'):
        build_engines(bundle, OPTIONS)
    assert files(bundle) == {}


def test_a_parser_that_loses_part_of_the_graph_is_not_trusted(
    graphs: dict[str, Path], machine: Machine
) -> None:
    from penguin_ros.errors import BackendError
    from penguin_ros.export.tensorrt.candidates import check_network

    window = open_bundle(graphs['int4']).graph('decoder', 'window')
    names, layers = (
        [tensor.name for tensor in window.inputs],
        {'DEQUANTIZE': window.quantised, 'KV_CACHE_UPDATE': 6},
    )
    check_network(names, layers, window)
    for inputs, found, words in (
        (names[1:], layers, names[0]),
        (names, {**layers, 'DEQUANTIZE': 1}, 'DEQUANTIZE layers'),
        (names, {'DEQUANTIZE': window.quantised}, '6 of 6 KV_CACHE_UPDATE layers'),
    ):
        with pytest.raises(BackendError, match=words):
            check_network(inputs, found, window)
