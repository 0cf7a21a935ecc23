# SPDX-License-Identifier: Apache-2.0
"""What tests of building engines share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.backends.base.backend import Chunk
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER
from penguin_ros.config import ModelConfig

COMMAND = r'Type: penguin build .*bundle --backend tensorrt'


def files(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((bundle / FOLDER).iterdir())}


def runs(bundle: Path) -> np.ndarray:
    """Returns logits of the opened bundle."""
    backend = TensorrtBackend(open_bundle(bundle), ModelConfig(max_length=272))
    backend.open()
    try:
        return backend.forward(backend.new_slot(), Chunk(np.arange(20)), [-1])
    finally:
        backend.close()


def kinds(model: Any) -> set[str]:
    return {node.op_type for node in model.graph.node}


def build_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `penguin build` build engines in this process, where the fake machine is;
    test_engine_process.py has the other way.
    """
    from penguin_ros.export.tensorrt import engine_process
    from penguin_ros.export.tensorrt.build import build_engines, fitting_machine

    def check_machine(made_by: str = '') -> None:
        with fitting_machine(made_by):
            pass

    monkeypatch.setattr(engine_process, 'build_engines_apart', build_engines)
    monkeypatch.setattr(engine_process, 'check_machine_apart', check_machine)
