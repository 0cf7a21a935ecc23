# SPDX-License-Identifier: Apache-2.0
"""A round on a device warms up with what it measures, and tells the device's time from the host's
where the backend can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from support.bench_runs import onnx_bundle

from penguin_ros.backends.base.backend import BackendDescription, Chunk
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.benchmark.engine import measures
from penguin_ros.benchmark.engine.figures import BandwidthLimit, Figures
from penguin_ros.benchmark.engine.model import Opened
from penguin_ros.benchmark.engine.tasks import EngineTask, Round
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import PenguinConfig
from penguin_ros.settings import with_values

STEPS, POSITION = 4, 40


class DeviceBackend(OnnxBackend):
    """Says that it runs on a device, whose clock counts `seconds` for whatever is timed."""

    device, seconds = 'cuda', 0.002
    encoded = 0
    rows: list[int]

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        return replace(super().description, device=self.device)

    def encode(self, frames: Any) -> Any:
        """See Backend; counts frames."""
        self.encoded += len(frames)
        return super().encode(frames)

    def forward_greedy(self, slot: int, chunk: Chunk) -> Any:
        """See Backend; notes the rows of each call."""
        self.rows.append(len(chunk.token_ids))
        return super().forward_greedy(slot, chunk)

    def time_on_device(self, work: Callable[[], Any]) -> tuple[Any, float | None]:
        """See Backend."""
        return work(), None if self.device == 'cpu' else self.seconds


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_bundle(tiny_checkpoint, tmp_path_factory.mktemp('measured') / 'bundle', 'float32')


def measured(
    bundle: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Round, DeviceBackend]:
    config = with_values(
        PenguinConfig(),
        {'model.device': 'cpu', 'model.threads': 1, 'visual.max_visual_tokens': 64},
    )
    model = open_bundle(bundle)
    backend = DeviceBackend(model, config.model)
    backend.device, backend.rows = device, []
    backend.open()
    opened = Opened(config, model, backend, 0.1)
    monkeypatch.setattr(measures, 'open_target', lambda target: opened)
    task = EngineTask(Target(str(bundle)), position=POSITION, steps=STEPS, max_tokens=3)
    return measures.measure_round(task), backend


def test_on_a_device_all_that_is_measured_runs_once_before(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu, cpu = measured(bundle, 'cpu', monkeypatch)
    on_device, device = measured(bundle, 'cuda', monkeypatch)
    frames = len(on_cpu.facts['patches'])
    assert (cpu.encoded, device.encoded) == (1 + frames, 1 + 2 * frames)
    # A CPU: the steps at the position, once. A device: twice, and each time as often by its clock.
    singles = [each.rows.count(1) for each in (cpu, device)]
    answers = [1 + 2, 1 + 2 + 2]  # the tokens after the first of the warm-ups and the answer
    assert singles == [answers[0] + STEPS + 1, answers[1] + 4 * STEPS]


def test_host_and_device_are_told_apart_where_the_backend_can(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device, _ = measured(bundle, 'cuda', monkeypatch)
    on_cpu, _ = measured(bundle, 'cpu', monkeypatch)
    assert on_device.samples['token_device_s'] == DeviceBackend.seconds
    assert 'token_device_s' not in on_cpu.samples
    limit = BandwidthLimit(1e9, 'planted')
    figures = {each.name: each for each in Figures([on_device], limit).all()}
    assert figures['  each step, device'].value == pytest.approx(2.0)
    expected = max(0.0, 1e3 * on_device.samples['token_s'] - 2.0)
    assert figures['  each step, host alone'].value == pytest.approx(expected)
    assert '  each step, device' not in {each.name for each in Figures([on_cpu], limit).all()}
