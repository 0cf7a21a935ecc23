# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels as files of a bundle; `backends/cuda/kernel_set` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penguin_ros.backends.cuda.kernel_set import (
    FOLDER,
    Image,
    KernelEntry,
    KernelSet,
    write_kernel_set,
)
from penguin_ros.kernels.ahead import digest_of_sources
from penguin_ros.kernels.table import Compiled, Kernel


def write_kernels(
    bundle: Path, kernels: Sequence[Kernel], compiled: Sequence[Compiled], *, has_code: bool = True
) -> KernelSet:
    """Writes the kernels in all forms they were compiled to; without `has_code` as PTX only."""
    folder = bundle / FOLDER
    images: dict[str, list[Image]] = {kernel.name: [] for kernel in kernels}
    for each in compiled:
        place = folder / f'sm_{each.target}'
        place.mkdir(parents=True, exist_ok=True)
        ptx, cubin = place / f'{each.kernel.name}.ptx', place / f'{each.kernel.name}.cubin'
        ptx.write_text(each.ptx, encoding='utf-8')
        if has_code:
            cubin.write_bytes(each.cubin)
        images[each.kernel.name].append(
            Image(
                target=each.target,
                symbol=each.symbol,
                ptx=ptx.relative_to(folder).as_posix(),
                cubin=cubin.relative_to(folder).as_posix() if has_code else '',
                ptx_version=each.ptx_version,
                shared_bytes=each.shared_bytes,
                registers=each.registers,
                spilled_bytes=each.spilled_bytes,
            )
        )
    entries = {kernel.name: KernelEntry(kernel, tuple(images[kernel.name])) for kernel in kernels}
    compilers = sorted({each.compiler for each in compiled})
    made = KernelSet(folder, digest_of_sources(kernels), '; '.join(compilers), entries)
    write_kernel_set(made)
    return made
