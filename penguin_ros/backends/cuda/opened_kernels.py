# SPDX-License-Identifier: Apache-2.0
"""The kernels and weights of a bundle on an open device: what the backend of own kernels consists
of, and what that of TensorRT decodes with where it is told to. Importing this file needs
cuda-bindings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.kernel_set import KernelSet, kernel_formats, read_kernel_set
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.modules import Modules
from penguin_ros.backends.cuda.network_file import read_network_file
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.checkpoint.safetensors_file import STORAGE
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BundleOutdated, CacheUnusable
from penguin_ros.kernels.ahead import digest_of_sources
from penguin_ros.kernels.network import network_of
from penguin_ros.user_cache import user_cache

COMPILED = 'kernels'
"""The folder of this user's cache that keeps what the driver compiled."""

OWN_STEPS, SHARED_STEPS = 4, 2
"""Tokens written at once where nobody has to look at each, on a card with memory of its own and on
a board: on average half of them but one are written in vain at the end of a text, which costs more
where a step takes longer. Assumptions, not measured.
"""


class OpenedKernels:
    """All kernels of a bundle, loaded, and its weights in device memory. `way` says in words which
    kernels these are.
    """

    def __init__(self, device: CudaDevice, bundle: Bundle, kernels: KernelSet) -> None:
        target = int(device.gpu.compute.replace('.', ''))
        manifest = bundle.manifest
        self.modules = Modules(kernels, target, compiled_folder())
        try:
            self.launch = Launcher(device, self.modules)
            formats = kernel_formats(manifest.precision, manifest.table.dtype)
            self.network = network_of(manifest.shape, formats)
            table = _table(bundle, self.network.llm.hidden)
            self.weights = DeviceWeights(device, read_network_file(bundle.path), table)
            self.modules.load_all()
        except BaseException:
            self.modules.close()
            raise
        self.way = self._way(target)

    def close(self) -> None:
        """Unloads the kernels; the memory belongs to the device."""
        self.modules.close()

    def _way(self, target: int) -> str:
        name = f'own kernels for sm_{target}'
        if self.network.formats.cache:
            name += ', keys and values in int8'
        if self.modules.compiled or self.modules.kept:
            return f'{name}, compiled here from PTX: the bundle has no machine code for this GPU'
        return name


def kernels_of_bundle(folder: Path) -> KernelSet:
    """Reads which kernels a bundle has; BundleOutdated when they were compiled from other sources
    than those that this version launches.
    """
    kernels = read_kernel_set(folder)
    here = digest_of_sources([entry.kernel for entry in kernels.entries.values()])
    if here != kernels.sources:
        raise BundleOutdated(
            f'the kernels of {folder} are of another version',
            f'their sources had the digest {kernels.sources[:12]}, those here {here[:12]}',
            f'Where it was built, type: penguin build {folder} --backend cuda',
        )
    return kernels


def greedy_steps(config: ModelConfig, is_shared: bool) -> int:
    """Returns how many tokens are written at once on a GPU that shares its memory or does not."""
    return config.greedy_steps or (SHARED_STEPS if is_shared else OWN_STEPS)


def compiled_folder() -> Path | None:
    """Returns where the driver's results are kept; None where there is no place."""
    try:
        return user_cache(COMPILED)
    except CacheUnusable:
        return None


def _table(bundle: Bundle, width: int) -> NDArray[np.uint8]:
    """Returns the embedding table as the kernels read it, each row filled up with zeros."""
    spec = bundle.manifest.table
    table: NDArray[Any] = np.memmap(
        bundle.file(spec.file), STORAGE[spec.dtype], 'r', shape=(spec.rows, spec.columns)
    )
    if width != spec.columns:
        table = np.pad(table, ((0, 0), (0, width - spec.columns)))
    return table.reshape(-1).view(np.uint8)
