# SPDX-License-Identifier: Apache-2.0
"""Loading kernels on a GPU that does not exist: machine code, else PTX through the driver's
compiler and a folder that keeps what it made; what fails has a name and says what to type.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_gpu.cuda_driver import CUresult
from support.fake_gpu.installed import Machine, remove, use
from support.fake_gpu.kernel_images import read_code, read_ptx, stand_in
from support.fake_gpu.kernel_sets import written_set
from support.fake_gpu.memory import FakeGpu
from support.kernel_runs import needs_triton

from penguin_ros.backends.cuda.kernel_set import KernelSet, read_kernel_set
from penguin_ros.errors import (
    BackendError,
    BackendUnavailable,
    BundleCorrupt,
    BundleNotFound,
    BundleOutdated,
    DeviceLost,
)
from penguin_ros.kernels.ahead import compile_ahead
from penguin_ros.kernels.network import Formats, network_of
from penguin_ros.kernels.one_row_set import one_row_kernels
from penguin_ros.kernels.table import Argument, Grid, Kernel
from penguin_ros.testing.random_checkpoint import SHAPES

COPY = Kernel(
    'copy',
    'plain.copy',
    (Argument('x', '*fp32'), Argument('y', '*fp32'), Argument('count', 'i32', False)),
    {'BLOCK': 4},
    Grid(2),
    warps=1,
)


def copy_four(
    gpu: FakeGpu, kernel: Kernel | None, grid: tuple[int, ...], values: tuple[int | float, ...]
) -> None:
    """What COPY is said to do: its first argument to its second."""
    assert kernel == COPY and grid == (2, 1, 1)
    source, target, count = (int(value) for value in values)
    gpu.view(target, 4 * count)[:] = gpu.view(source, 4 * count)


def given(source: int, target: int) -> dict[str, int]:
    """The arguments of COPY."""
    return {'x': source, 'y': target, 'count': 4}


@pytest.fixture
def machine() -> Iterator[Machine]:
    found = Machine()
    found.gpu.executor = copy_four
    use(found)
    yield found
    remove()


MakeSet = Callable[..., KernelSet]


@pytest.fixture
def kernels(tmp_path: Path) -> MakeSet:
    """Writes a bundle's kernels for these targets and reads them again."""

    def make(*targets: int, ptx_version: int = 85, has_code: bool = True) -> KernelSet:
        images = [stand_in(COPY, target, ptx_version) for target in targets]
        written_set(tmp_path, images, has_code)
        return read_kernel_set(tmp_path)

    return make


def run_copy(machine: Machine, kernels: KernelSet, cache: Path | None) -> tuple[int, int, int]:
    """Copies four numbers with the kernel; returns how many kernels came ready, were kept, were
    compiled.
    """
    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.backends.cuda.modules import Modules

    device = CudaDevice()
    modules = Modules(kernels, 87, cache)
    source, target = device.allocate_host(256), device.allocate_host(256)
    source.bytes[:16] = range(16)
    modules['copy'].launch(device.stream, 1, given(source.address, target.address))
    assert not target.bytes[:16].any(), 'a launch is queued, not run'
    device.synchronize()
    assert target.bytes[:16].tolist() == list(range(16))
    counts = modules.ready, modules.kept, modules.compiled
    modules.close()
    device.close()
    return counts


def test_machine_code_for_this_gpu_is_loaded_as_it_is(machine: Machine, kernels: MakeSet) -> None:
    assert run_copy(machine, kernels(80, 87), None) == (1, 0, 0)
    assert machine.gpu.compiled == []


def test_without_it_the_newest_ptx_that_this_gpu_runs_is_compiled_once_and_kept(
    machine: Machine, kernels: MakeSet, tmp_path: Path
) -> None:
    found = kernels(80, 90)
    cache = tmp_path / 'cache'
    assert run_copy(machine, found, cache) == (0, 0, 1)
    assert run_copy(machine, found, cache) == (0, 1, 0)
    assert machine.gpu.compiled == [('copy', 'sm_87')]


def test_what_is_kept_for_another_driver_or_is_damaged_is_compiled_again(
    machine: Machine, kernels: MakeSet, tmp_path: Path
) -> None:
    found, cache = kernels(80), tmp_path / 'cache'
    run_copy(machine, found, cache)
    machine.gpu.driver = 12080
    assert run_copy(machine, found, cache) == (0, 0, 1)
    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[:-3] + b'odd')
    assert run_copy(machine, found, cache) == (0, 0, 1)


def test_a_folder_that_cannot_be_written_only_costs_compiling(
    machine: Machine, kernels: MakeSet, tmp_path: Path
) -> None:
    (tmp_path / 'file').touch()
    assert run_copy(machine, kernels(80), tmp_path / 'file' / 'cache') == (0, 0, 1)


def load(machine: Machine, kernels: KernelSet, target: int = 87) -> None:
    from penguin_ros.backends.cuda.modules import Modules

    Modules(kernels, target, None)['copy']


def test_ptx_that_is_newer_than_the_driver_is_refused_with_both_versions(
    machine: Machine, kernels: MakeSet
) -> None:
    with pytest.raises(BackendUnavailable, match=r'CUDA 12.9.*runs 12.6.*--target sm_87'):
        load(machine, kernels(80, ptx_version=88))


def test_kernels_for_later_gpus_only_are_refused_with_what_there_is(
    machine: Machine, kernels: MakeSet
) -> None:
    with pytest.raises(BackendUnavailable, match=r'9\.0, 11\.0, and it has 8\.7.*sm_87'):
        load(machine, kernels(90, 110))


def test_ptx_for_one_kind_of_gpu_is_not_given_to_a_later_one(
    machine: Machine, kernels: MakeSet
) -> None:
    machine.gpu.compute = (12, 0)
    with pytest.raises(BackendUnavailable, match='9.0'):
        load(machine, kernels(90, 110), 120)


def test_a_driver_without_a_compiler_is_named(machine: Machine, kernels: MakeSet) -> None:
    machine.gpu.has_compiler = False
    with pytest.raises(BackendUnavailable, match='libnvidia-ptxjitcompiler'):
        load(machine, kernels(80))
    load(machine, kernels(87))


def test_damage_of_the_folder_is_told_with_the_command_that_mends_it(
    machine: Machine, kernels: MakeSet, tmp_path: Path
) -> None:
    found = kernels(87)
    with pytest.raises(BundleOutdated, match='no kernel other.*penguin build'):
        found.entry('other')
    index = tmp_path / 'kernels' / 'kernels.json'
    text = index.read_text()
    index.write_text(text.replace('"symbol": "copy"', '"symbol": "paste"'))
    with pytest.raises(BundleCorrupt, match='no paste'):
        load(machine, read_kernel_set(tmp_path))
    for broken in ('{', '{}', text.replace('"warps"', '"wraps"')):
        index.write_text(broken)
        with pytest.raises(BundleCorrupt, match='damaged'):
            read_kernel_set(tmp_path)
    index.write_text(text.replace('"format": 1', '"format": 0'))
    with pytest.raises(BundleOutdated, match='format 0'):
        read_kernel_set(tmp_path)
    index.unlink()
    with pytest.raises(BundleNotFound, match='no kernels'):
        read_kernel_set(tmp_path)


@pytest.mark.parametrize(
    ('change', 'code'),
    [
        ({'grid': (0, 1, 1)}, CUresult.CUDA_ERROR_INVALID_VALUE),
        ({'grid': (2, 65536, 1)}, CUresult.CUDA_ERROR_INVALID_VALUE),
        ({'threads': 64}, CUresult.CUDA_ERROR_INVALID_VALUE),
        ({'shared': 49 * 1024}, CUresult.CUDA_ERROR_INVALID_VALUE),
        ({'kinds': (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)}, None),
        ({'kinds': (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32)}, None),
        ({'values': (0, 8, 4)}, CUresult.CUDA_ERROR_ILLEGAL_ADDRESS),
        ({'hidden': 5}, CUresult.CUDA_ERROR_INVALID_VALUE),
        ({'function': 17}, CUresult.CUDA_ERROR_INVALID_HANDLE),
        ({'stream': 5}, CUresult.CUDA_ERROR_INVALID_HANDLE),
    ],
    ids=str,
)
def test_the_fake_driver_refuses_what_a_real_one_would_run_wrongly(
    machine: Machine, kernels: MakeSet, change: dict[str, object], code: CUresult | None
) -> None:
    from cuda.bindings import driver

    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.backends.cuda.modules import Modules

    device = CudaDevice()
    function = Modules(kernels(87), 87, None)['copy'].function
    block = device.allocate(256)
    call = {
        'function': function,
        'grid': (2, 1, 1),
        'threads': 32,
        'shared': 0,
        'stream': device.stream,
        'values': (block, block, 4),
        'kinds': (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32),
        'hidden': 0,
    }

    def launched() -> CUresult:
        values = (*call['values'], call['hidden'], 0)
        kinds = (*call['kinds'], ctypes.c_void_p, ctypes.c_void_p)
        result: CUresult = driver.cuLaunchKernel(
            call['function'], *call['grid'], call['threads'], 1, 1, call['shared'],
            call['stream'], (values, kinds), 0,
        )[0]  # fmt: skip
        return result

    assert launched() == CUresult.CUDA_SUCCESS
    call.update(change)
    assert launched() == (code or CUresult.CUDA_ERROR_INVALID_VALUE)
    call.update({'values': (block, block, 4)})
    device.free(block)
    assert launched() != CUresult.CUDA_SUCCESS, 'the memory was freed'


def test_a_launch_with_other_arguments_does_not_reach_the_driver(
    machine: Machine, kernels: MakeSet
) -> None:
    from penguin_ros.backends.cuda.modules import Modules

    with pytest.raises(BackendError, match='launched with x, z: it takes x, y, count'):
        Modules(kernels(87), 87, None)['copy'].launch(77, 1, {'x': 0, 'z': 0})


def test_a_kernel_that_fails_ends_all_use_of_the_gpu_by_name(
    machine: Machine, kernels: MakeSet
) -> None:
    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.backends.cuda.modules import Modules

    machine.gpu.fails_at, machine.gpu.fails_with = 1, 719
    device = CudaDevice()
    block = device.allocate(256)
    Modules(kernels(87), 87, None)['copy'].launch(device.stream, 1, given(block, block))
    with pytest.raises(DeviceLost, match='GPU stopped.*LaunchFailure'):
        device.synchronize()
    with pytest.raises(DeviceLost):
        device.allocate(256)
    device.close()


def test_a_gpu_that_another_process_has_alone_is_named(machine: Machine) -> None:
    from penguin_ros.backends.cuda.device import CudaDevice

    machine.gpu.is_taken = True
    with pytest.raises(BackendUnavailable, match='taken by another process'):
        CudaDevice()


def test_a_set_knows_what_machine_code_it_has(kernels: MakeSet) -> None:
    assert kernels(80, 87).targets == [80, 87]
    assert kernels(80, has_code=False).targets == []
    entry = kernels(87).entry('copy')
    assert entry.kernel == COPY and replace(entry.images[0], ptx='') != entry.images[0]


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize('target', [87, 110])
def test_the_fake_driver_reads_what_a_real_compiler_makes(machine: Machine, target: int) -> None:
    network = network_of(SHAPES['2b'], Formats())
    kernel = next(each for each in one_row_kernels(network) if each.name == 'one.attend')
    compiled = compile_ahead([kernel], target)[0]
    code, ptx = read_code(compiled.cubin), read_ptx(compiled.ptx.encode())
    assert (code.target, code.entry) == (ptx.target, ptx.entry) == (target, compiled.symbol)
    assert ptx.threads == 32 * kernel.warps and ptx.is_portable == (target < 90)
    kinds = ['pointer' if one.is_pointer else one.kind for one in kernel.arguments]
    assert list(ptx.parameters) == [*kinds, 'pointer', 'pointer']
    assert list(code.parameters) == [8 if kind == 'pointer' else 4 for kind in ptx.parameters]
