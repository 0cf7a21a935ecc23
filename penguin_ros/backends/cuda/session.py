# SPDX-License-Identifier: Apache-2.0
"""Everything that is open while this backend is: the device, the kernels, the weights, the slots,
encoder and decoder. All memory is allocated when it opens, but for the features of frames.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import ENCODE_PATCHES, BackendStats
from penguin_ros.backends.base.board_room import room_here, slots_of
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.cuda.decoder import Decoder, DecoderSizes
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.encoder import Encoder, EncoderSizes
from penguin_ros.backends.cuda.features import FeaturePool
from penguin_ros.backends.cuda.kernel_set import KernelSet, kernel_formats, read_kernel_set
from penguin_ros.backends.cuda.launcher import Launcher
from penguin_ros.backends.cuda.llm_passes import MAX_ROWS
from penguin_ros.backends.cuda.modules import Modules
from penguin_ros.backends.cuda.network_file import read_network_file
from penguin_ros.backends.cuda.slots import Slots, slot_shape
from penguin_ros.backends.cuda.weights import DeviceWeights
from penguin_ros.board_memory.board_classes import WITH_OWN_MEMORY, class_of
from penguin_ros.board_memory.memory_plan import Room
from penguin_ros.board_memory.page_cache import drop_below
from penguin_ros.checkpoint.safetensors_file import STORAGE
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BundleOutdated, CacheUnusable
from penguin_ros.kernels.ahead import digest_of_sources
from penguin_ros.kernels.network import Network, network_of
from penguin_ros.kernels.table import ITEM_BYTES
from penguin_ros.user_cache import user_cache

OWN_STEPS, SHARED_STEPS = 4, 2
"""Tokens written at once where nobody has to look at each, on a card with memory of its own and on
a board: on average half of them but one are written in vain at the end of a text, which costs more
where a step takes longer. Assumptions, not measured.
"""

COMPILED = 'kernels'
"""The folder of this user's cache that keeps what the driver compiled."""


class CudaSession:
    """An opened bundle, with `slots` KV slots of at most `max_length` positions; all is freed again
    when opening fails.
    """

    def __init__(self, bundle: Bundle, config: ModelConfig, max_length: int) -> None:
        kernels = read_kernel_set(bundle.path)
        check_sources(kernels)
        # What is cached of the bundle's files keeps a Jetson from giving the GPU memory.
        self.device = CudaDevice(lambda: drop_below(bundle.path))
        self.modules: Modules | None = None
        try:
            self._open(bundle, kernels, config, max_length)
        except BaseException:
            self.close()
            raise

    def _open(
        self, bundle: Bundle, kernels: KernelSet, config: ModelConfig, max_length: int
    ) -> None:
        device, shape, manifest = self.device, bundle.shape, bundle.manifest
        self.gpu = device.gpu
        target = int(self.gpu.compute.replace('.', ''))
        self.modules = Modules(kernels, target, compiled_folder())
        launch = Launcher(device, self.modules)
        room = room_here(*device.memory(), self.gpu.is_integrated)
        network = network_of(shape, kernel_formats(manifest.precision, manifest.table.dtype))
        table = _table(bundle, network.llm.hidden)
        weights = DeviceWeights(device, read_network_file(bundle.path), table)
        one_slot = slot_shape(shape.llm, max_length, ITEM_BYTES[network.formats.kept])
        self.slots = slots_of(config, room, one_slot.slot_bytes)
        slots = Slots(device, one_slot, self.slots)
        steps = config.greedy_steps or (SHARED_STEPS if room.is_shared else OWN_STEPS)
        decoder_sizes = DecoderSizes(max_length, steps)
        self.decoder = Decoder(launch, weights, slots, network, decoder_sizes)
        sizes = EncoderSizes(_most_patches(room), config.encode_patches or ENCODE_PATCHES)
        self.encoder = Encoder(launch, weights, network, shape.encoder, sizes)
        self.features = FeaturePool(device)
        self.prefill_chunk = min(config.prefill_chunk or MAX_ROWS, MAX_ROWS)
        self.modules.load_all()
        self.decoder.warm_up()
        device.synchronize()
        self.way = _way(self.modules, target, network)
        logging.getLogger(__name__).info(
            '%s, %.2f GB of weights, %s slots', self.way, weights.byte_count / 1e9, self.slots
        )

    def stats(self) -> BackendStats:
        """Returns what a backend counts; on any thread."""
        assert self.modules is not None
        return self.decoder.graphs.stats(self.modules)

    def close(self) -> None:
        """Frees everything, graphs before kernels before memory."""
        decoder = getattr(self, 'decoder', None)
        if decoder is not None:
            decoder.close()
        if self.modules is not None:
            self.modules.close()
        self.device.close()


def check_sources(kernels: KernelSet) -> None:
    """Raises BundleOutdated when the kernels were compiled from other sources than those that this
    version launches.
    """
    here = digest_of_sources([entry.kernel for entry in kernels.entries.values()])
    if here != kernels.sources:
        raise BundleOutdated(
            f'the kernels of {kernels.folder.parent} are of another version',
            f'their sources had the digest {kernels.sources[:12]}, those here {here[:12]}',
            f'Where it was built, type: penguin build {kernels.folder.parent} --backend cuda',
        )


def _table(bundle: Bundle, width: int) -> NDArray[np.uint8]:
    """Returns the embedding table as the kernels read it, each row filled up with zeros."""
    spec = bundle.manifest.table
    table: NDArray[Any] = np.memmap(
        bundle.file(spec.file), STORAGE[spec.dtype], 'r', shape=(spec.rows, spec.columns)
    )
    if width != spec.columns:
        table = np.pad(table, ((0, 0), (0, width - spec.columns)))
    return table.reshape(-1).view(np.uint8)


def compiled_folder() -> Path | None:
    """Returns where the driver's results are kept; None where there is no place."""
    try:
        return user_cache(COMPILED)
    except CacheUnusable:
        return None


def _most_patches(room: Room) -> int:
    sizes = class_of(room.total).sizes if room.is_shared else WITH_OWN_MEMORY
    return sizes.max_patches


def _way(modules: Modules, target: int, network: Network) -> str:
    """Says which kernels run, in words."""
    name = f'own kernels for sm_{target}'
    if network.formats.cache:
        name += ', keys and values in int8'
    if modules.compiled or modules.kept:
        return f'{name}, compiled here from PTX: the bundle has no machine code for this GPU'
    return name
