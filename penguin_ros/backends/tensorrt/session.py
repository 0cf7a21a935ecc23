# SPDX-License-Identifier: Apache-2.0
"""Everything that is open while a TensorRT backend is: the device, both engines, the caches, the
pool of features.

Importing this file needs tensorrt and cuda-bindings.
"""

from __future__ import annotations

import logging

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.backends.base.board_room import room_here, slots_of
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import DECODER, ENCODER
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.cuda.features import FeaturePool
from penguin_ros.backends.cuda.opened_kernels import (
    OpenedKernels,
    greedy_steps,
    kernels_of_bundle,
)
from penguin_ros.backends.tensorrt.decode_choice import decodes_in_kernels
from penguin_ros.backends.tensorrt.decoder import (
    Decoder,
    OpenKernels,
    Workspaces,
    cache_shape,
)
from penguin_ros.backends.tensorrt.encoder import Encoder
from penguin_ros.backends.tensorrt.engine import Engine, Workspace
from penguin_ros.backends.tensorrt.engine_manifest import (
    FOLDER,
    KERNELS,
    EngineSpec,
    fitting_engine,
    gpu_spec,
    read_engine_manifest,
    slower_here,
)
from penguin_ros.backends.tensorrt.engine_memory import check_plan
from penguin_ros.backends.tensorrt.kernel_cache import KernelFile
from penguin_ros.backends.tensorrt.kernel_steps import KernelSteps
from penguin_ros.backends.tensorrt.library import Library
from penguin_ros.board_facts import board_facts
from penguin_ros.board_memory.memory_plan import Room, shown
from penguin_ros.board_memory.page_cache import drop_below
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BundleMismatch

PARTS = (ENCODER, DECODER)


class TensorrtSession:
    """The opened engines of a bundle, with `slots` KV slots of at most `max_length` positions.

    BundleNotFound, BundleOutdated or BundleCorrupt when an engine does not fit here, BundleMismatch
    when the two do not fit together, OutOfMemory; all is freed again then.
    """

    def __init__(
        self, bundle: Bundle, library: Library, config: ModelConfig, max_length: int
    ) -> None:
        # What is cached of the bundle's files keeps a Jetson from giving the GPU memory.
        self.device = CudaDevice(lambda: drop_below(bundle.path))
        self._engines: list[Engine] = []
        try:
            self.gpu = gpu_spec(self.device.gpu, board_facts())
            specs = [fitting_engine(bundle, part, library, self.gpu) for part in PARTS]
            room = self._checked_room(bundle, config)
            encoder, decoder = (self._opened(bundle, spec, library) for spec in specs)
            _check_features(bundle, encoder, decoder)
            # Encoder and decoder never run at the same time, so they share the memory for
            # intermediate values. Graphs of decoding keep addresses, so they have their own.
            workspace = Workspace(self.device)
            kernels = self._kernels(bundle, config, decoder, room)
            steps = workspace
            if kernels is None:
                steps = Workspace(self.device, decoder.workspace_bytes(0), is_fixed=True)
            self.encoder = Encoder(encoder, bundle.shape.encoder, workspace)
            self.slots = slots_of(config, room, cache_shape(decoder, max_length).slot_bytes)
            self.decoder = Decoder(
                decoder,
                bundle.embedding_table,
                max_length,
                self.slots,
                Workspaces(steps, workspace),
                kernels,
            )
            self.decoder.warm_up()
            self.features = FeaturePool(self.device)
            self.device.synchronize()
            for engine in self._engines:
                engine.keep_kernels()
        except BaseException:
            self.close()
            raise

    def _checked_room(self, bundle: Bundle, config: ModelConfig) -> Room:
        """Logs the plan of memory and what may make the engines slow; OutOfMemory when the plan
        exceeds the memory that there is.
        """
        log = logging.getLogger(__name__)
        engines = read_engine_manifest(bundle.path)
        assert engines is not None, 'a fitting engine stands in it'
        room = room_here(*self.device.memory(), self.device.gpu.is_integrated)
        plan = check_plan(bundle, engines, config, room)
        log.info('memory of %s', '\n'.join(plan.lines()))
        if not plan.fits:
            log.warning('%s, %s are available', plan.numbers(), shown(room.available))
        slower = slower_here(bundle.path, engines.gpu, self.gpu)
        if slower:
            log.warning('%s', slower)
        return room

    def _kernels(
        self, bundle: Bundle, config: ModelConfig, decoder: Engine, room: Room
    ) -> OpenKernels | None:
        """Loads the kernels that decode, where some do."""
        if not decodes_in_kernels(bundle, config.decode, decoder.profiles > 1):
            return None
        kernel_set = kernels_of_bundle(bundle.path)
        opened = OpenedKernels(self.device, bundle, kernel_set)
        steps = greedy_steps(config, room.is_shared)
        return lambda cache: KernelSteps(opened, cache, steps)

    def way(self, library: Library) -> str:
        """Says in words what decodes."""
        kernels = self.decoder.kernels
        if kernels is None:
            return f'{library}, decoding as CUDA graphs'
        return f'{library}, decoding in {kernels.way}'

    def stats(self) -> BackendStats:
        """Returns what a backend counts; on any thread."""
        return self.decoder.stats()

    def _opened(self, bundle: Bundle, spec: EngineSpec, library: Library) -> Engine:
        path = bundle.path / FOLDER / spec.file
        kernels = None
        if library.is_rtx:
            key = f'{library}, {self.gpu.name}, {self.gpu.compute}'
            kernels = KernelFile(path.with_suffix(KERNELS), key)
        self._engines.append(Engine(path, self.device, kernels))
        return self._engines[-1]

    def close(self) -> None:
        """Frees everything, contexts before engines before memory."""
        for part in (getattr(self, 'decoder', None), getattr(self, 'encoder', None)):
            if part is not None:
                part.close()
        for engine in self._engines:
            engine.close()
        self.device.close()


def _check_features(bundle: Bundle, encoder: Engine, decoder: Engine) -> None:
    """Raises BundleMismatch where the encoder gives features that the decoder does not take."""
    made, taken = encoder.tensors['image_embeds'].dtype, decoder.tensors['inputs_embeds'].dtype
    if made != taken:
        raise BundleMismatch(
            f'the engines of {bundle.path} do not fit together',
            f'features of the encoder are {made}, the decoder takes {taken}',
            'Build the engines again',
        )
