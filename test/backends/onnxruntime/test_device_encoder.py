# SPDX-License-Identifier: Apache-2.0
"""The encoder on a device: the same features, and nothing but pixels copied for a frame of a grid
that was seen before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end
from support.golden_chunks import error
from support.onnx_device import DeviceOnnxBackend

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.onnxruntime.device_encoder import DeviceEncoder
from penguin_ros.checkpoint.checkpoint import open_checkpoint

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

GRIDS = ((4, 6, 2), (9, 6, 3), (4, 6, 2), (5, 3, 1), (6, 4, 2), (4, 6, 2))


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from penguin_ros.export.build import BuildOrder, build_bundle

    folder = tmp_path_factory.mktemp('device') / 'bundle'
    return open_bundle(build_bundle(open_checkpoint(tiny_checkpoint), folder, BuildOrder()))


@pytest.fixture
def backend(bundle: Bundle) -> Iterator[OnnxBackend]:
    made = DeviceOnnxBackend(bundle, CONFIG)
    made.open()
    yield made
    made.close()


def encoder_of(backend: OnnxBackend) -> DeviceEncoder:
    encoder = backend._opened().encoder
    assert isinstance(encoder, DeviceEncoder)
    return encoder


class Placements:
    """Counts what is copied to the device beside pixels."""

    def __init__(self, encoder: DeviceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._place = encoder._placed
        monkeypatch.setattr(encoder, '_placed', self)

    def __call__(self, values: np.ndarray) -> Any:
        self.shapes.append(values.shape)
        return self._place(values)


def features(backend: OnnxBackend, seed: int, grid: tuple[int, int, int]) -> list[np.ndarray]:
    made = run_to_end(backend.encode([frame(seed, *grid)]))[0][0]
    return [backend.read_features(made, stage) for stage in ('encoded', 'projected')]


def test_features_are_those_of_the_host_whatever_grids_come_between(
    backend: OnnxBackend, bundle: Bundle
) -> None:
    host = OnnxBackend(bundle, CONFIG)
    host.open()
    for seed, grid in enumerate(GRIDS):
        pairs = zip(features(backend, seed, grid), features(host, seed, grid), strict=True)
        assert all(error(*pair) < 1e-5 for pair in pairs)


def test_tables_are_copied_once_for_each_grid(
    backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = Placements(encoder_of(backend), monkeypatch)
    features(backend, 1, (4, 6, 2))
    assert [shape[0] for shape in placed.shapes] == [24, 24, 4]
    for seed in range(5):
        features(backend, seed, (4, 6, 2))
    assert len(placed.shapes) == 3
    features(backend, 1, (6, 4, 2))
    assert len(placed.shapes) == 6, 'as many patches, in other places'


def test_features_of_a_frame_outlive_the_next_frame(backend: OnnxBackend) -> None:
    first = run_to_end(backend.encode([frame(1)]))[0][0]
    before = backend.read_features(first).copy()
    run_to_end(backend.encode([frame(2)]))
    assert np.array_equal(backend.read_features(first), before)


def test_grids_are_bounded_and_the_least_used_leaves(
    backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_of(backend)._kept.limit = 2
    placed = Placements(encoder_of(backend), monkeypatch)
    for grid in ((4, 6, 2), (6, 4, 2), (4, 6, 2), (9, 6, 3), (4, 6, 2)):
        features(backend, 1, grid)
    assert len(placed.shapes) == 9 and len(encoder_of(backend)._kept) == 2
    features(backend, 1, (6, 4, 2))
    assert len(placed.shapes) == 12
