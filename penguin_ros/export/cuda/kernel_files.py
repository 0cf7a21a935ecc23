# SPDX-License-Identifier: Apache-2.0
"""The kernels of a network, compiled, as files of a bundle; `backends/cuda/kernel_set` reads
them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penguin_ros.backends.base.bundle import read_manifest, write_manifest
from penguin_ros.backends.base.file_digests import file_spec
from penguin_ros.backends.cuda.kernel_set import (
    FOLDER,
    Image,
    KernelEntry,
    KernelSet,
    kernel_formats,
    read_kernel_set,
    write_kernel_set,
)
from penguin_ros.errors import BundleError
from penguin_ros.kernels.ahead import compile_ahead, digest_of_sources
from penguin_ros.kernels.network import Network, network_of
from penguin_ros.kernels.one_row_set import one_row_kernels
from penguin_ros.kernels.rows_set import encoder_kernels, few_rows_kernels, many_rows_kernels
from penguin_ros.kernels.table import Compiled, Kernel

ANY_CARD = 80
"""The compute capability, ten times as large, whose PTX every later GPU compiles."""

STAGING = '.kernels-'
Compiler = Callable[[Sequence[Kernel], int], list[Compiled]]
"""Compiles kernels for a target."""


@dataclass(frozen=True)
class KernelOrder:
    """Says for which compute capabilities, ten times as large, kernels are compiled, and by what;
    None for Triton. `cache`: int8 for keys and values that are narrower than activations.
    `is_decoding`: only what decodes and verifies, for a bundle whose engines do the rest.
    """

    targets: tuple[int, ...] = (ANY_CARD,)
    compiler: Compiler | None = None
    cache: str = ''
    is_decoding: bool = False


def kernels_of(network: Network, is_decoding: bool = False) -> list[Kernel]:
    """Returns all kernels of a network, or those that decode and verify."""
    few = [*one_row_kernels(network), *few_rows_kernels(network)]
    if is_decoding:
        return few
    return [
        *few,
        *many_rows_kernels(network),
        *encoder_kernels(network),
    ]


def add_kernels(
    bundle: Path,
    network: Network,
    order: KernelOrder,
    progress: Callable[[str], None] = lambda stage: None,
) -> KernelSet:
    """Compiles the kernels of a network into a bundle, in the place of any that are there;
    BuildRefused where Triton is missing.
    """
    kernels = kernels_of(network, order.is_decoding)
    compiled: list[Compiled] = []
    compiler = order.compiler or compile_ahead
    for target in order.targets:
        progress(f'kernels for sm_{target}')
        compiled += compiler(kernels, target)
    shutil.rmtree(bundle / FOLDER, ignore_errors=True)
    return write_kernels(bundle, kernels, compiled)


def renew_kernels(
    bundle: Path,
    targets: tuple[int, ...] = (),
    compiler: Compiler | None = None,
    progress: Callable[[str], None] = lambda stage: None,
    cache: str | None = None,
) -> KernelSet:
    """Compiles the kernels of a bundle that is there again, for the targets that it has and for
    these, and for another format of the `cache` where one is named; its weights stay.
    """
    manifest = read_manifest(bundle)
    had = _targets_of(bundle)
    if cache is not None:
        manifest = replace(manifest, precision=replace(manifest.precision, cache=cache))
    formats = kernel_formats(manifest.precision, manifest.table.dtype)
    network = network_of(manifest.shape, formats)
    order = KernelOrder(
        tuple(sorted({*had, *targets})) or (ANY_CARD,),
        compiler,
        is_decoding=manifest.backend != 'cuda',
    )
    with tempfile.TemporaryDirectory(dir=bundle, prefix=STAGING) as staging:
        made = add_kernels(Path(staging), network, order, progress)
        shutil.rmtree(bundle / FOLDER, ignore_errors=True)
        os.replace(Path(staging) / FOLDER, bundle / FOLDER)
    kept = {name: spec for name, spec in manifest.files.items() if not _is_kernel(name)}
    found = sorted(path for path in (bundle / FOLDER).rglob('*') if path.is_file())
    files = kept | {path.relative_to(bundle).as_posix(): file_spec(path) for path in found}
    write_manifest(bundle, replace(manifest, files=files))
    return replace(made, folder=bundle / FOLDER)


def _targets_of(bundle: Path) -> list[int]:
    try:
        found = read_kernel_set(bundle)
    except BundleError:
        return []
    return sorted({one.target for each in found.entries.values() for one in each.images})


def _is_kernel(name: str) -> bool:
    return name.startswith(f'{FOLDER}/')


def write_kernels(
    bundle: Path, kernels: Sequence[Kernel], compiled: Sequence[Compiled], *, has_code: bool = True
) -> KernelSet:
    """Writes kernels in all forms they were compiled to; without `has_code` as PTX only."""
    folder = bundle / FOLDER
    images: dict[str, list[Image]] = {kernel.name: [] for kernel in kernels}
    for each in compiled:
        images[each.kernel.name].append(_write(folder, each, has_code))
    entries = {kernel.name: KernelEntry(kernel, tuple(images[kernel.name])) for kernel in kernels}
    compilers = sorted({each.compiler for each in compiled})
    made = KernelSet(folder, digest_of_sources(kernels), '; '.join(compilers), entries)
    write_kernel_set(made)
    return made


def _write(folder: Path, compiled: Compiled, has_code: bool) -> Image:
    place = folder / f'sm_{compiled.target}'
    place.mkdir(parents=True, exist_ok=True)
    ptx, cubin = (place / f'{compiled.kernel.name}.{kind}' for kind in ('ptx', 'cubin'))
    ptx.write_text(compiled.ptx, encoding='utf-8')
    if has_code:
        cubin.write_bytes(compiled.cubin)
    return Image(
        target=compiled.target,
        symbol=compiled.symbol,
        ptx=ptx.relative_to(folder).as_posix(),
        cubin=cubin.relative_to(folder).as_posix() if has_code else '',
        ptx_version=compiled.ptx_version,
        shared_bytes=compiled.shared_bytes,
        registers=compiled.registers,
        spilled_bytes=compiled.spilled_bytes,
    )
