# SPDX-License-Identifier: Apache-2.0
"""A prompt in packed weights: the same bits however it is cut, since a last bit tips a rounding of
activations.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.backend_kinds import CONFIG

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.onnxruntime.library import OLDEST_IN_PLACE, version_of
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.testing.random_checkpoint import SHAPES, write_random_checkpoint

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

import onnxruntime

is_in_place = version_of(onnxruntime) >= OLDEST_IN_PLACE
POSITIONS = 83
CUTS = ([], [40], [41], [2], [64, 67], [15, 32, 49, 66], [81])


@pytest.fixture(scope='module', params=['int4', 'int8'])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Wide enough for blocks of 128, whose kernels for one row and for several differ."""
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.precision import BuildChoice

    folder, tiny = tmp_path_factory.mktemp(request.param), SHAPES['tiny']
    wide = replace(
        tiny,
        llm=replace(
            tiny.llm, layers=3, hidden_size=256, ffn_size=512, heads=4, kv_heads=2, head_dim=64
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SHAPES, 'tiny', wide)
        checkpoint = open_checkpoint(write_random_checkpoint(folder / 'checkpoint'))
    order = BuildOrder(BuildChoice('onnxruntime', request.param), max_length=256)
    return open_bundle(build_bundle(checkpoint, folder / 'bundle', order))


def logits_after(bundle: Bundle, cuts: list[int]) -> np.ndarray:
    """Returns the logits of the last position of the prompt and of three tokens that are decoded
    one by one.
    """
    backend = OnnxBackend(bundle, replace(CONFIG, max_length=256))
    backend.open()
    ids = np.random.default_rng(0).integers(0, bundle.shape.vocabulary_size, POSITIONS + 3)
    slot, borders = (
        backend.new_slot(),
        [0, *cuts, POSITIONS, POSITIONS + 1, POSITIONS + 2, POSITIONS + 3],
    )
    found = [
        backend.forward(slot, Chunk(ids[begin:end]), (-1,))[0]
        for begin, end in zip(borders[:-1], borders[1:], strict=True)
    ]
    assert backend.slot_length(slot) == POSITIONS + 3
    backend.close()
    return np.stack(found[-4:])


@pytest.mark.skipif(
    not is_in_place,
    reason='with the graph in two parts, attention over another length differs in its last bit',
)
def test_a_prompt_gives_the_same_bits_however_it_is_cut(bundle: Bundle) -> None:
    whole = logits_after(bundle, [])
    for cuts in CUTS:
        assert np.array_equal(logits_after(bundle, cuts), whole), cuts


def test_a_slot_may_be_filled_to_its_last_position_with_an_odd_number_of_rows(
    bundle: Bundle,
) -> None:
    backend = OnnxBackend(bundle, replace(CONFIG, max_length=64))
    backend.open()
    slot = backend.new_slot()
    backend.forward(slot, Chunk(np.arange(31)))
    assert np.isfinite(backend.forward(slot, Chunk(np.arange(33)), (-1,))).all()
    assert backend.slot_length(slot) == 64
    backend.close()
