# SPDX-License-Identifier: Apache-2.0
"""The torch backend against golden values of the reference, in each precision, and what it does
with its device.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.backend_kinds import CONFIG, frame, run_to_end, tokens
from support.golden_chunks import CASES, error, golden_chunk, golden_frames
from support.memory_checkpoint import TINY, MemoryCheckpoint

from penguin_ros.backends.base.backend import Chunk, Features, FeatureSpan
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import BackendError, BackendUnavailable, OutOfMemory

torch = pytest.importorskip('torch', reason='torch is not installed')

# Largest relative error of features and of logits: float32 as agreed with the reference, the others
# what their 8 and 11 bits allow in a network with random weights.
TOLERANCES = {'float32': (1e-5, 1e-4), 'bfloat16': (2e-2, 0.5), 'float16': (4e-3, 0.1)}


@pytest.mark.parametrize('precision', TOLERANCES)
@pytest.mark.parametrize('name', CASES)
def test_golden_values_come_out(golden_dir: Path, name: str, precision: str) -> None:
    checkpoint, case = (
        open_checkpoint(golden_dir / 'checkpoint'),
        np.load(golden_dir / 'cases' / f'{name}.npz'),
    )
    for_features, for_logits = TOLERANCES[precision]
    backend = TorchBackend(checkpoint, replace(CONFIG, precision=precision, max_length=1024))
    backend.open()
    features: list[Features] = []
    if 'grid_sizes' in case:
        features = run_to_end(backend.encode(golden_frames(case)))[0]
        for stage, key in (('encoded', 'vision_features'), ('projected', 'projected')):
            assert (
                error(
                    np.concatenate([backend.read_features(each, stage) for each in features]),
                    case[key],
                )
                < for_features
            )
    slot, chunk = backend.new_slot(), golden_chunk(case, features, checkpoint.shape.image_token_id)
    logits = backend.forward(slot, chunk, range(len(chunk.token_ids)))
    assert error(logits[-1], case['logits_last']) < for_logits
    agreeing = (logits.argmax(axis=1) == case['logits_argmax'].reshape(-1)).mean()
    assert agreeing == 1 if precision == 'float32' else agreeing > 0.75
    for token_id, expected in zip(case['generated'].reshape(-1), case['step_logits'], strict=True):
        assert error(logits[-1], expected) < for_logits
        logits = backend.forward(slot, Chunk(np.array([token_id])), [0])
    backend.close()


@pytest.mark.parametrize('dtype', ['BF16', 'F16'])
def test_narrow_weights_are_widened_exactly(dtype: str) -> None:
    narrow = MemoryCheckpoint(dtype)

    class Widened(MemoryCheckpoint):
        def read_raw(self, name: str) -> tuple[str, np.ndarray]:
            _, bits = narrow.read_raw(name)
            wide = (
                (bits.astype(np.uint32) << 16).view(np.float32)
                if dtype == 'BF16'
                else bits.astype(np.float32)
            )
            return 'F32', wide

    results = []
    for checkpoint in (narrow, Widened()):
        backend = TorchBackend(checkpoint, CONFIG)  # type: ignore[arg-type]
        backend.open()
        features = run_to_end(backend.encode([frame(1)]))[0][0]
        chunk = Chunk(tokens(1, 20), (FeatureSpan(3, features, 0, 6),))
        results.append(backend.forward(backend.new_slot(), chunk, range(20)))
    assert np.array_equal(*results)


def test_the_description_follows_device_precision_and_model() -> None:
    backend = TorchBackend(MemoryCheckpoint(max_positions=50), replace(CONFIG, precision='auto'))  # type: ignore[arg-type]
    description, llm = backend.open(), TINY.llm
    assert (description.name, description.device, description.precision) == (
        'torch',
        'cpu',
        'float32',
    )
    assert description.max_length == 50, 'a slot is not longer than the model reads'
    assert description.slot_bytes == llm.layers * 2 * llm.kv_heads * 50 * llm.head_dim * 4
    half = TorchBackend(MemoryCheckpoint(max_positions=50), replace(CONFIG, precision='bfloat16'))  # type: ignore[arg-type]
    assert half.open().slot_bytes * 2 == description.slot_bytes


@pytest.mark.parametrize(
    ('has_graphs', 'can_record', 'expected'),
    [
        (True, True, 'CUDA graphs, NVIDIA H200'),
        (True, False, 'passes launched one by one, NVIDIA H200'),
        (False, False, 'passes launched one by one, NVIDIA H200'),
    ],
)
def test_the_way_on_a_card_names_it_and_how_passes_run(
    monkeypatch: pytest.MonkeyPatch, has_graphs: bool, can_record: bool, expected: str
) -> None:
    from penguin_ros.backends.torch.session import TorchSession

    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'NVIDIA H200')
    session: Any = TorchSession.__new__(TorchSession)
    session.device = 'cuda'
    session._graphs = SimpleNamespace(can_record=can_record) if has_graphs else None
    assert session.way == expected


def test_the_way_on_a_cpu_names_the_threads() -> None:
    backend = TorchBackend(MemoryCheckpoint(), replace(CONFIG, threads=1))  # type: ignore[arg-type]
    assert backend.open().way == 'CPU, 1 threads'


def test_a_missing_cuda_device_is_a_named_error() -> None:
    if torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    with pytest.raises(BackendUnavailable, match='cuda is not available'):
        TorchBackend(MemoryCheckpoint(), replace(CONFIG, device='cuda')).open()  # type: ignore[arg-type]
    description = TorchBackend(MemoryCheckpoint(), replace(CONFIG, device='auto')).open()  # type: ignore[arg-type]
    assert description.device == 'cpu'


def test_cuda_computes_what_the_cpu_computes() -> None:
    if not torch.cuda.is_available():
        pytest.skip('no CUDA device')
    results = []
    for device in ('cpu', 'cuda'):
        backend = TorchBackend(MemoryCheckpoint(), replace(CONFIG, device=device))  # type: ignore[arg-type]
        backend.open()
        features = run_to_end(backend.encode([frame(1)]))[0][0]
        slot = backend.new_slot()
        backend.forward(slot, Chunk(tokens(1, 20), (FeatureSpan(3, features, 0, 6),)))
        results.append(backend.forward(backend.fork(slot, 18), Chunk(tokens(2, 5)), range(5)))
    assert error(results[1], results[0]) < 1e-4


def test_slots_beyond_the_memory_are_a_named_error() -> None:
    huge = replace(CONFIG, max_length=1 << 45)
    backend = TorchBackend(MemoryCheckpoint(max_positions=1 << 45), huge)  # type: ignore[arg-type]
    with pytest.raises(OutOfMemory, match='allocating KV slots of 35184372088832 positions'):
        backend.open()
    with pytest.raises(BackendError, match='not open'):
        backend.new_slot()
    backend.close()


def test_close_frees_every_tensor_though_handles_are_still_held() -> None:
    def held() -> int:
        gc.collect()
        return sum(1 for each in gc.get_objects() if issubclass(type(each), torch.Tensor))

    before = held()
    backend = TorchBackend(MemoryCheckpoint(), CONFIG)  # type: ignore[arg-type]
    backend.open()
    features, running = (
        run_to_end(backend.encode([frame(1)]))[0],
        backend.encode([frame(1), frame(2)]),
    )
    for _ in range(7):
        next(running)
    assert held() > before + 20
    backend.close()
    assert held() == before
    del features, running


def test_the_number_of_threads_is_set() -> None:
    before = torch.get_num_threads()
    try:
        TorchBackend(MemoryCheckpoint(), replace(CONFIG, threads=1)).open()  # type: ignore[arg-type]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_what_torch_raises_leaves_as_a_named_error() -> None:
    from penguin_ros.backends.torch.device import inference

    with pytest.raises(BackendError, match='multiplying failed'), inference('multiplying'):
        torch.ones(2, 2) @ torch.ones(3, 3)
    with pytest.raises(BackendError, match='Set model.precision to float32'), inference('counting'):
        torch.bincount(torch.ones(2, dtype=torch.float16))
    with pytest.raises(OutOfMemory, match='while growing'), inference('growing'):
        torch.empty(1 << 60)
