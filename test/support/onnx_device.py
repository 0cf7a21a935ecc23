# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime backend as it runs on a GPU, on the one device that is here: its cache, its kept
bindings and its captured steps, with the host's memory as the device's.

A stand-in captures as CUDA does: what was bound at the capture is what a replay reads and writes,
whatever is handed to it later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from penguin_ros.backends.base.backend import BackendDescription
from penguin_ros.backends.onnxruntime import backend
from penguin_ros.backends.onnxruntime.backend import OnnxBackend, OnnxNetwork
from penguin_ros.backends.onnxruntime.decoder import OnnxDecoder
from penguin_ros.backends.onnxruntime.device_cache import DeviceCache
from penguin_ros.backends.onnxruntime.device_encoder import DeviceEncoder
from penguin_ros.backends.onnxruntime.device_steps import GRAPH_ID, WITHOUT, DeviceSteps


class CapturingSession:
    """A session that captures the runs whose options name a graph; `captures` by that name.
    `failure` is raised instead of capturing.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.captures: dict[str, Any] = {}
        self.runs: list[str] = []
        self.failure: Exception | None = None

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        """Runs, captures or replays."""
        name = options.get_run_config_entry(GRAPH_ID)
        self.runs.append(name)
        if name != WITHOUT:
            if name not in self.captures and self.failure is not None:
                raise self.failure
            binding = self.captures.setdefault(name, binding)
        self._session.run_with_iobinding(binding, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@contextmanager
def device_stand_in(can_capture: bool = True) -> Iterator[None]:
    """Makes encoders and decoders that are opened meanwhile run as they do on a GPU."""

    def open_on_device(self: OnnxDecoder, maker: Any, spec: Any, shape: Any, graph: Any) -> None:
        cache = DeviceCache(maker.library, shape, self.slots, 'cpu')
        session = CapturingSession(maker.open(spec))
        self.cache = cache
        self.steps = DeviceSteps(maker.library, session, cache, graph, can_capture)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxDecoder, '_open_on_host', open_on_device)
        patch.setattr(backend, '_encoder', lambda maker, config: DeviceEncoder(maker, 'cpu'))
        yield


class DeviceOnnxBackend(OnnxBackend):
    """The backend, opened on the stand-in."""

    def _open(self) -> tuple[OnnxNetwork, BackendDescription]:
        with device_stand_in():
            return super()._open()
