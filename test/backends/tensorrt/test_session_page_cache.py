# SPDX-License-Identifier: Apache-2.0
"""A GPU that gets no memory while files are cached: the files of the bundle leave the page cache,
which is the kernel's real one here, and the model opens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.boards import orin_nano
from support.fake_gpu.bundles import CONFIG, opened
from support.fake_gpu.installed import Machine
from support.fake_gpu.memory import KernelPageCache, PageCache
from support.page_cache import can_drop
from support.tensorrt_backend_checks import decode

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.board_memory import page_cache
from penguin_ros.errors import OutOfMemory
from penguin_ros.jetson import find_jetson


@pytest.fixture
def starved(machine: Machine, bundle: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose GPU gets what is cached of the bundle only after that was dropped: it has
    room for the model and half of the bundle's files.
    """
    if not can_drop(tmp_path):
        pytest.skip('files of this file system do not leave the page cache')
    backend = opened(machine, bundle)
    decode(backend, backend.new_slot(), 3)
    needed, total = machine.gpu.used_bytes, machine.gpu.total_bytes
    backend.close()
    machine.gpu.page_cache = KernelPageCache(bundle)
    size = sum(path.stat().st_size for path in bundle.rglob('*') if path.is_file())
    machine.gpu.total_bytes = needed + size // 2
    yield machine
    machine.gpu.total_bytes = total
    machine.gpu.page_cache = PageCache()


def read_all(folder: Path) -> None:
    for path in folder.rglob('*'):
        if path.is_file():
            path.read_bytes()


def test_what_was_hashed_and_loaded_does_not_stay_in_memory(starved: Machine, bundle: Path) -> None:
    read_all(bundle)
    page_cache.drop_below(bundle)
    refused = starved.gpu.refused
    backend = TensorrtBackend(open_bundle(bundle), CONFIG)
    backend.open()
    decode(backend, backend.new_slot(), 3)
    backend.close()
    assert starved.gpu.refused == refused, 'no allocation had to be tried twice'


def test_an_allocation_that_fails_beside_cached_files_is_tried_again_without_them(
    starved: Machine, bundle: Path
) -> None:
    """As when something else has read the bundle's files meanwhile."""
    backend = TensorrtBackend(open_bundle(bundle), CONFIG)
    read_all(bundle)
    assert starved.gpu.page_cache.in_the_way_bytes > 0
    refused = starved.gpu.refused
    backend.open()
    decode(backend, backend.new_slot(), 3)
    backend.close()
    assert starved.gpu.refused > refused


def test_memory_that_is_not_there_without_the_files_either_is_an_error_that_names_the_release(
    starved: Machine, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('penguin_ros.backends.tensorrt.session.drop_below', lambda folder: None)
    monkeypatch.setattr('penguin_ros.backends.tensorrt.engine.drop', lambda path: None)
    monkeypatch.setattr(
        'penguin_ros.backends.cuda.device.find_jetson',
        lambda: find_jetson(orin_nano(tmp_path)),
    )
    backend = TensorrtBackend(open_bundle(bundle), CONFIG)
    read_all(bundle)
    with pytest.raises(OutOfMemory, match=r'MB are free.*36\.4\.7.*36\.5.*kv_slots'):
        backend.open()


def test_waiting_for_an_integrated_gpu_sleeps_and_for_another_spins(
    machine: Machine, bundle: Path
) -> None:
    machine.gpu.flags.clear()
    opened(machine, bundle).close()
    assert set(machine.gpu.flags) == {4}
    machine.gpu.flags.clear()
    machine.gpu.is_integrated = False
    try:
        opened(machine, bundle).close()
    finally:
        machine.gpu.is_integrated = True
    assert machine.gpu.flags == []
