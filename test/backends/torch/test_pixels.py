# SPDX-License-Identifier: Apache-2.0
"""Pixels that travel as bytes become the numbers that the host would have made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.backend_kinds import CONFIG, run_to_end
from support.memory_checkpoint import TINY, MemoryCheckpoint

torch = pytest.importorskip('torch', reason='torch is not installed')

from support.torch_graphs import graphs_of, recording_backend

from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.backends.torch.pixels import LevelTable
from penguin_ros.errors import BackendError
from penguin_ros.frame import Frame
from penguin_ros.model_inputs import FramePatches, Levels
from penguin_ros.preprocessing.patches import to_patches


def image_patches(seed: int, size: tuple[int, int] = (56, 84)) -> FramePatches:
    image = np.random.default_rng(seed).integers(0, 256, (90, 130, 3), np.uint8)
    return to_patches(Frame(0, image), size, 2, TINY.processor)


def test_the_device_gives_every_level_the_bits_of_the_host() -> None:
    frame = image_patches(1)
    levels = frame.levels
    assert levels is not None and levels.values.dtype == np.uint8
    table = LevelTable(levels.values.shape[1], torch.device('cpu'))
    table.load(levels.table)
    assert np.array_equal(table.normalised(torch.from_numpy(levels.values)), frame.pixels)


def test_a_frame_of_bytes_has_the_features_of_its_pixels_recorded_and_not() -> None:
    recorded = recording_backend(MemoryCheckpoint(), CONFIG)
    plain = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    for backend in (recorded, plain):
        backend.open()
        for seed in (1, 2, 3):  # plainly, recorded, replayed
            frame = image_patches(seed)
            floats = replace(frame, source=frame.pixels)
            both = [run_to_end(backend.encode([each]))[0][0] for each in (frame, floats)]
            assert np.array_equal(*(backend.read_features(each) for each in both))


def test_bytes_of_another_shape_are_refused() -> None:
    backend = recording_backend(MemoryCheckpoint(), CONFIG)
    backend.open()
    frame = image_patches(1)
    assert frame.levels is not None
    short = Levels(frame.levels.values[1:], frame.levels.table)
    with pytest.raises(BackendError, match=r'frame 0 has pixels \(23, 588\) uint8'):
        run_to_end(backend.encode([replace(frame, source=short)]))


def test_frames_of_one_grid_share_a_pass_and_a_long_frame_is_sliced() -> None:
    backend = recording_backend(MemoryCheckpoint(), replace(CONFIG, encode_patches=64))
    backend.open()
    frames = [image_patches(seed, size) for seed in range(4) for size in ((56, 84), (28, 112))]
    slices = run_to_end(backend.encode(frames))[1]
    counts = graphs_of(backend).counts
    assert slices == 8, 'a frame is one slice'
    assert (counts.plain, counts.recorded, counts.replayed) == (2, 2, 6)
    assert run_to_end(backend.encode([image_patches(1, (140, 140))]))[1] > 8
    assert len(graphs_of(backend)) == 2
