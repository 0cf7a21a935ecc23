# SPDX-License-Identifier: Apache-2.0
"""Steps on a device: bound once for each shape, captured when one comes again, exact throughout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, tokens
from support.golden_chunks import error
from support.onnx_device import CapturingSession, DeviceOnnxBackend, device_stand_in

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.onnxruntime import backend as onnx_backend
from penguin_ros.backends.onnxruntime import device_cache, device_steps
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.onnxruntime.library import OLDEST_IN_PLACE, version_of
from penguin_ros.backends.onnxruntime.providers import Placement
from penguin_ros.backends.onnxruntime.steps import Step
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.nvidia_card import Card

onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

is_in_place = version_of(onnxruntime) >= OLDEST_IN_PLACE
VARIANTS = ('full', 'two_part') if is_in_place else ('two_part',)


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from penguin_ros.export.build import BuildOrder, build_bundle

    folder = tmp_path_factory.mktemp('device') / 'bundle'
    return open_bundle(build_bundle(open_checkpoint(tiny_checkpoint), folder, BuildOrder()))


@pytest.fixture(autouse=True)
def short_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that are laid out anew after 16, 32 and 64 positions."""
    monkeypatch.setattr(device_cache, 'SHORTEST', 16)


def opened(
    bundle: Bundle, variant: str = '', **settings: int
) -> tuple[OnnxBackend, CapturingSession]:
    backend = DeviceOnnxBackend(bundle, replace(CONFIG, max_length=128, **settings), variant)  # type: ignore[arg-type]
    backend.open()
    session: CapturingSession = backend._opened().decoder.steps._session  # type: ignore[assignment]
    return backend, session


def schedule(backend: OnnxBackend) -> list[np.ndarray]:
    """Prefill, single tokens over every border of a length, drafts that are taken back, a copy, and
    slots that are used again.
    """
    found = []
    slot = backend.new_slot()
    found.append(backend.forward(slot, Chunk(tokens(1, 14)), [-1]))
    for seed in range(70):
        found.append(backend.forward(slot, Chunk(tokens(seed, 1)), [-1]))
        if seed % 7 == 0:
            held = backend.slot_length(slot)
            found.append(backend.forward(slot, Chunk(tokens(seed, 4)), range(4)))
            backend.truncate(slot, held + 1)
        if seed == 30:
            fork = backend.fork(slot, 21)
            found.append(backend.forward(fork, Chunk(tokens(2, 3)), [0, 2]))
            backend.free_slot(fork)
            backend.truncate(slot, 9)
    other = backend.new_slot()
    assert not backend.forward(other, Chunk(tokens(5, 40))).size
    found += [backend.forward(each, Chunk(tokens(6, 1)), [-1]) for each in (slot, other, slot)]
    return found


@pytest.mark.parametrize('variant', VARIANTS)
def test_lengths_captures_and_copies_give_what_the_host_gives(bundle: Bundle, variant: str) -> None:
    plain = OnnxBackend(bundle, replace(CONFIG, max_length=128), variant)
    plain.open()
    backend, session = opened(bundle, variant)
    for got, expected in zip(schedule(backend), schedule(plain), strict=True):
        assert error(got, expected) < 1e-5
    counts = backend.stats().counts
    assert counts['graphs captured'] == len(session.captures) > 3
    assert counts['steps replayed'] > 2 * counts['graphs captured']
    assert (
        len(session.runs) - counts['steps replayed'] - counts['graphs captured']
        == (counts['shapes bound'])
    ), 'only the first run of a shape is plain'


def test_a_shape_is_bound_once_and_captured_when_it_comes_again(bundle: Bundle) -> None:
    backend, session = opened(bundle)
    slot = backend.new_slot()
    for seed in range(12):
        backend.forward(slot, Chunk(tokens(seed, 1)), [-1])
    assert session.runs == ['-1', *['0'] * 11]
    assert backend.stats().counts == {
        'shapes bound': 1,
        'graphs captured': 1,
        'steps replayed': 10,
    }


def test_a_capture_that_fails_ends_capturing_and_not_the_step(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    backend, session = opened(bundle)
    expected, _ = opened(bundle)
    session.failure = RuntimeError('operation not permitted when stream is capturing')
    slots = [each.new_slot() for each in (backend, expected)]
    for seed in range(6):
        got, other = (
            each.forward(slot, Chunk(tokens(seed, 1)), [-1])
            for each, slot in zip((backend, expected), slots, strict=True)
        )
        assert error(got, other) < 1e-6
    assert session.runs == ['-1', '0', *['-1'] * 5]
    assert [record.message for record in caplog.records] == [backend.stats().slowdown]
    assert 'not permitted when stream is capturing' in backend.stats().slowdown
    assert backend.stats().counts['graphs captured'] == 0


def test_shapes_and_graphs_are_bounded(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_steps, 'MAX_BOUND', 2)
    monkeypatch.setattr(device_steps, 'MAX_CAPTURED', 3)
    backend, session = opened(bundle)
    slot = backend.new_slot()
    for rows in (1, 1, 2, 2, 3, 3, 1, 1, 2, 2):
        backend.forward(slot, Chunk(tokens(rows, rows)), [-1])
        backend.truncate(slot, 0)
    assert len(backend._opened().decoder.steps._kept) == 2  # type: ignore[union-attr]
    assert session.runs == ['-1', '0', '-1', '1', '-1', '2', '-1', '-1', '-1', '-1']


def test_nothing_is_captured_unless_asked_for(bundle: Bundle) -> None:
    with device_stand_in(can_capture=False):
        backend = OnnxBackend(bundle, CONFIG)
        backend.open()
    slot = backend.new_slot()
    session = backend._opened().decoder.steps._session  # type: ignore[union-attr]
    session.run_with_iobinding = session._session.run_with_iobinding  # no option names a graph
    for seed in range(3):
        backend.forward(slot, Chunk(tokens(seed, 1)), [-1])
    assert backend.stats().counts == {'shapes bound': 1} and not backend.stats().slowdown


def test_what_is_not_finite_does_not_outlive_its_request(bundle: Bundle) -> None:
    backend, _ = opened(bundle, kv_slots=1)
    slot = backend.new_slot()
    expected = backend.forward(slot, Chunk(tokens(1, 30)), [-1])
    decoder = backend._opened().decoder
    rows = np.full((5, bundle.shape.llm.hidden_size), np.nan, np.float32)
    assert np.isnan(decoder.append(Step(0, 30, rows, [4]))).all()
    decoder.cache.forget(0, 29, 35)
    again = backend._opened().decoder.append(
        Step(0, 29, bundle.embedding_table.read(tokens(1, 30)[29:]), [0])
    )
    assert error(again, expected) < 1e-5
    decoder.append(Step(0, 30, rows, []))
    backend.free_slot(slot)
    assert error(backend.forward(backend.new_slot(), Chunk(tokens(1, 30)), [-1]), expected) < 1e-5


def test_the_description_says_which_way_runs(bundle: Bundle) -> None:
    backend, _ = opened(bundle)
    assert backend._opened().decoder.launches == 'steps captured as graphs'
    backend._opened().decoder.steps.refuse_capture('planted')  # type: ignore[union-attr]
    assert backend._opened().decoder.launches == 'kernels launched one by one'
    plain = OnnxBackend(bundle, CONFIG)
    assert plain.open().way == 'CPU provider'


def test_the_way_on_a_card_names_provider_launches_and_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placement = Placement((('CUDAExecutionProvider', {}), ('CPUExecutionProvider', {})), 'cuda')
    decoder: Any = SimpleNamespace(launches='steps captured as graphs')
    monkeypatch.setattr(onnx_backend, 'find_card', lambda: Card('NVIDIA H200', 13000))
    expected = 'CUDA provider, steps captured as graphs'
    assert onnx_backend._way(placement, decoder) == f'{expected}, NVIDIA H200'
    monkeypatch.setattr(onnx_backend, 'find_card', lambda: None)
    assert onnx_backend._way(placement, decoder) == expected
