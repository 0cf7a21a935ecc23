# SPDX-License-Identifier: Apache-2.0
"""Everything that is open while this backend is: the device, the kernels, the weights, the slots,
encoder and decoder. All memory is allocated when it opens, but for the features of frames.

Importing this file needs cuda-bindings.
"""

from __future__ import annotations

import logging

from penguin_ros.backends.base.backend import ENCODE_PATCHES, BackendStats
from penguin_ros.backends.base.board_room import room_here, slots_of
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.cuda.decoder import Decoder, DecoderSizes
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.encoder import Encoder, EncoderSizes
from penguin_ros.backends.cuda.features import FeaturePool
from penguin_ros.backends.cuda.kernel_memory import MAX_ROWS, check_plan, most_patches
from penguin_ros.backends.cuda.kernel_set import KernelSet
from penguin_ros.backends.cuda.opened_kernels import (
    OpenedKernels,
    greedy_steps,
    kernels_of_bundle,
)
from penguin_ros.backends.cuda.slots import Slots, slot_shape
from penguin_ros.board_memory.page_cache import drop_below
from penguin_ros.config import ModelConfig
from penguin_ros.kernels.table import ITEM_BYTES


class CudaSession:
    """An opened bundle, with `slots` KV slots of at most `max_length` positions; all is freed again
    when opening fails.
    """

    def __init__(self, bundle: Bundle, config: ModelConfig, max_length: int) -> None:
        kernels = kernels_of_bundle(bundle.path)
        # What is cached of the bundle's files keeps a Jetson from giving the GPU memory.
        self.device = CudaDevice(lambda: drop_below(bundle.path))
        self.kernels: OpenedKernels | None = None
        try:
            self._open(bundle, kernels, config, max_length)
        except BaseException:
            self.close()
            raise

    def _open(
        self, bundle: Bundle, kernels: KernelSet, config: ModelConfig, max_length: int
    ) -> None:
        device, shape = self.device, bundle.shape
        self.gpu = device.gpu
        room = room_here(*device.memory(), self.gpu.is_integrated)
        log = logging.getLogger(__name__)
        log.info('memory of %s', '\n'.join(check_plan(bundle, config, room).lines()))
        self.kernels = opened = OpenedKernels(device, bundle, kernels)
        launch, weights, network = opened.launch, opened.weights, opened.network
        llm, number_bytes = network.llm, ITEM_BYTES[network.formats.kept]
        stack = (llm.layers, llm.kv_heads, llm.head_dim)
        one_slot = slot_shape(stack, max_length, number_bytes)
        self.slots = slots_of(config, room, one_slot.slot_bytes)
        slots = Slots(device, one_slot, self.slots)
        decoder_sizes = DecoderSizes(max_length, greedy_steps(config, room.is_shared))
        self.decoder = Decoder(launch, weights, slots, network, decoder_sizes)
        sizes = EncoderSizes(most_patches(room), config.encode_patches or ENCODE_PATCHES)
        self.encoder = Encoder(launch, weights, network, shape.encoder, sizes)
        self.features = FeaturePool(device)
        self.prefill_chunk = min(config.prefill_chunk or MAX_ROWS, MAX_ROWS)
        self.decoder.warm_up()
        device.synchronize()
        self.way = opened.way
        log.info('%s, %.2f GB of weights, %s slots', self.way, weights.byte_count / 1e9, self.slots)

    def stats(self) -> BackendStats:
        """Returns what a backend counts; on any thread."""
        assert self.kernels is not None
        return self.decoder.graphs.stats(self.kernels.modules)

    def close(self) -> None:
        """Frees everything, graphs before kernels before memory."""
        decoder = getattr(self, 'decoder', None)
        if decoder is not None:
            decoder.close()
        if self.kernels is not None:
            self.kernels.close()
        self.device.close()
