# SPDX-License-Identifier: Apache-2.0
"""Numbers that float16 cannot hold are computed smaller, with the same result."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import VARIANTS, Decoder, Vision, distance, patches
from support.overflowing_checkpoint import overflowing

from penguin_ros.backends.base.bundle import Bundle, open_bundle, read_manifest
from penguin_ros.backends.base.manifest import ScalingSpec
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.export.build import BuildOrder, build_bundle
from penguin_ros.export.precision import BuildChoice
from penguin_ros.export.scaling import LARGEST, chosen_scaling
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint

SCALING = {'decoder': ScalingSpec(6, 4), 'vision': ScalingSpec(3, 5)}
LENGTH = 1024
NEAR = 0.15
"""What rounding int4 weights' scales to float16 may change in a random network, which amplifies."""


def scaled_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    choice: BuildChoice,
    scaling: dict[str, ScalingSpec],
    length: int = LENGTH,
) -> Bundle:
    order = BuildOrder(choice, length, threads=1, scaling=scaling)
    return open_bundle(build_bundle(checkpoint, folder, order))


@pytest.fixture(scope='module')
def scaled_golden(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The golden checkpoint, computed smaller, by backend."""
    folder, checkpoint = tmp_path_factory.mktemp('b'), open_checkpoint(golden_dir / 'checkpoint')
    return {
        backend: scaled_bundle(checkpoint, folder / backend, BuildChoice(backend), SCALING)
        for backend in ('onnxruntime', 'tensorrt')
    }


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('name', ['text', 'image_small', 'video_compressed'])
def test_logits_stay_those_of_the_reference(
    golden_dir: Path,
    golden_bundles: dict[str, Bundle],
    scaled_golden: dict[str, Bundle],
    name: str,
    variant: str,
) -> None:
    """In float32, to rounding: nearer to the unscaled ones than those are to the reference."""
    bundle = scaled_golden[VARIANTS[variant]]
    ours, plain = Decoder(bundle, variant), Decoder(golden_bundles[VARIANTS[variant]], variant)
    with np.load(golden_dir / 'cases' / f'{name}.npz') as case:
        ids, rows = case['input_ids'][0], []
        for decoder, factor in ((ours, 2.0**-6), (plain, 1.0)):
            embeds = decoder.embed(ids)
            if 'projected' in case:
                is_image = ids == bundle.shape.image_token_id
                embeds[is_image] = case['projected'] * np.float32(factor)
            rows.append(decoder.append(embeds))
        assert distance(rows[0], rows[1]) < 2e-6
        assert rows[0].argmax(-1).tolist() == case['logits_argmax'].ravel().tolist()


@pytest.mark.parametrize('name', ['image_small', 'video_compressed'])
@pytest.mark.parametrize('way', ['whole', 'plain', 'stages'])
def test_features_are_smaller_by_what_the_decoder_asks_for_and_else_the_same(
    golden_bundles: dict[str, Bundle], scaled_golden: dict[str, Bundle], name: str, way: str
) -> None:
    backend, variant = 'onnxruntime' if way == 'stages' else 'tensorrt', 'fused'
    frame = patches(1, 8, 12, 2)
    found = []
    for bundles in (scaled_golden, golden_bundles):
        vision = Vision(bundles[backend], 'plain' if way == 'plain' else variant)
        found.append(vision.in_stages([frame], 16) if way == 'stages' else vision.whole([frame]))
    assert distance(found[0][0], found[1][0]) < 2e-6
    assert distance(found[0][1] * np.float32(2.0**6), found[1][1]) < 2e-6


def test_the_manifest_says_how_numbers_are_scaled(scaled_golden: dict[str, Bundle]) -> None:
    precision = scaled_golden['tensorrt'].manifest.precision
    assert precision.scaling == SCALING and precision.feature_scale == 64.0


@pytest.mark.parametrize(
    ('largest', 'exponent'),
    [(1.0, 0), (LARGEST, 0), (LARGEST * 1.01, 1), (60_000.0, 3), (1e6, 7)],
)
def test_the_smallest_power_of_two_that_leaves_headroom_is_chosen(
    largest: float, exponent: int
) -> None:
    maxima = {'decoder': {'residual': (3.0, largest), 'gated': (1.0,)}}
    expected = {'decoder': ScalingSpec(exponent, 0)} if exponent else {}
    assert chosen_scaling(maxima) == expected


# --- a checkpoint that overflows ------------------------------------------------------------------


@pytest.fixture(scope='module')
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose numbers float16 does not hold, with a head of its own."""
    folder = tmp_path_factory.mktemp('large')
    plain = write_random_checkpoint(
        folder / 'plain', 'tiny', 0, 'nested', 'float32', Variant(is_tied=False)
    )
    return overflowing(plain, folder / 'large')


@pytest.fixture(scope='module')
def measured(
    large: Path, video_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ScalingSpec]:
    """The scaling that follows from the beginning of a recording."""
    from penguin_ros.evaluation.float16_range import measure_range

    place = tmp_path_factory.mktemp('measured')
    found = measure_range(open_checkpoint(large), video_path, place / 'b')
    assert not list(place.iterdir()), 'the weights in float32 are gone again'
    for part, layers in (('decoder', 3), ('vision', 3)):
        kinds = found.maxima[part]
        assert (len(kinds['residual']), len(kinds['gated'])) == (2 * layers + 1, layers)
        assert max(kinds['residual']) > 65504 and max(kinds['gated']) > 65504
    return dict(found.scaling)


@pytest.mark.parametrize('precision', ['float16', 'int4'])
@pytest.mark.parametrize('variant', ['window', 'two_part'])
def test_float16_is_finite_where_it_overflowed(
    large: Path, measured: dict[str, ScalingSpec], tmp_path: Path, precision: str, variant: str
) -> None:
    """And as near to float32 as float16 is."""
    checkpoint, ids = open_checkpoint(large), np.arange(30, 50)
    choice = BuildChoice('tensorrt', precision)
    exact = BuildChoice('tensorrt', 'float32')
    if precision == 'int4':
        exact = BuildChoice('tensorrt', precision, compute='float32')
    logits, features = [], []
    for name, formats, scaling in (
        ('exact', exact, {}),
        ('plain', choice, {}),
        ('scaled', choice, measured),
    ):
        bundle = scaled_bundle(checkpoint, tmp_path / name, formats, scaling, 256)
        decoder = Decoder(bundle, variant)
        logits.append(decoder.append(decoder.embed(ids)))
        # Of the plain form ONNX Runtime keeps numbers in float32 between operators.
        features.append(Vision(bundle, 'fused').whole([patches(1, 8, 12, 2)])[0].astype(np.float32))
    for exactly, overflowed, held in (logits, features):
        assert np.isfinite(exactly).all()
        assert not np.isfinite(overflowed).all()
        assert np.isfinite(held).all()
        assert distance(held, exactly) < (0.05 if precision == 'float16' else NEAR)


@pytest.mark.parametrize('kind', ['onnxruntime', 'tensorrt'])
def test_features_are_read_in_the_size_of_the_network_as_published(
    golden_dir: Path, scaled_golden: dict[str, Bundle], golden_bundles: dict[str, Bundle], kind: str
) -> None:
    from support.backend_kinds import frame, run_to_end

    found = []
    for bundle in (scaled_golden[kind], golden_bundles[kind]):
        if kind == 'onnxruntime':
            from penguin_ros.backends.onnxruntime.backend import OnnxBackend

            backend = OnnxBackend(bundle, ModelConfig(device='cpu', max_length=64, kv_slots=1))
            backend.open()
        else:
            from support.fake_gpu.bundles import opened
            from support.fake_gpu.installed import Machine

            backend = opened(Machine(), bundle.path, max_length=64, kv_slots=1)
        features = run_to_end(backend.encode([frame(1)]))[0][0]
        found.append([backend.read_features(features, stage) for stage in ('encoded', 'projected')])
        backend.close()
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == np.float32 and distance(ours, theirs) < 2e-6


def test_penguin_build_measures_and_records_the_scaling(
    large: Path, video_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from penguin_ros.cli.main import main

    words = ['build', str(large), '--backend', 'tensorrt', '--graphs-only', '--max-length', '256']
    words += ['--measure-range', str(video_path), '--out', str(tmp_path / 'b')]
    assert main([*words, '--precision', 'float16']) == 0
    manifest = read_manifest(tmp_path / 'b')
    assert {part: spec.residual > 0 for part, spec in manifest.precision.scaling.items()} == {
        'decoder': True,
        'vision': True,
    }
    assert f'--measure-range {video_path}' in manifest.command
    shown = capsys.readouterr().err
    assert 'decoder: largest magnitudes residual' in shown and 'computed smaller by 2^' in shown
    assert main([*words, '--precision', 'bfloat16']) != 0
    assert 'only float16 has a range' in capsys.readouterr().err


def test_a_bundle_from_before_numbers_were_scaled_still_opens(
    golden_dir: Path, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(golden_dir / 'checkpoint')
    bundle = scaled_bundle(checkpoint, tmp_path / 'b', BuildChoice(), {}, 64)
    file = tmp_path / 'b' / 'bundle.yaml'
    text = file.read_text()
    assert 'scaling: {}' in text
    file.write_text(re.sub(r',?\s*scaling: \{\}', '', text))
    assert read_manifest(tmp_path / 'b').precision == bundle.manifest.precision
