# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle with kernels of this project on an NVIDIA GPU. It needs the driver and NVIDIA's
bindings: no torch, no TensorRT, no Triton.

Importing this file needs no inference library; `open` imports CUDA's bindings.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    BackendDescription,
    BackendStats,
    Logits,
    Result,
)
from penguin_ros.backends.base.slot_backend import Append, BranchLimits
from penguin_ros.backends.cuda.device_backend import DeviceBackend
from penguin_ros.backends.cuda.features import DeviceFeatures
from penguin_ros.backends.cuda.versions import without_bindings
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    from penguin_ros.backends.base.bundle import Bundle
    from penguin_ros.backends.cuda.session import CudaSession


class CudaBackend(DeviceBackend['CudaSession']):
    """Penguin-VL in own kernels. Truncating a slot costs nothing. A slice of an encode is
    `encode_patches` patches of a layer, or one layer.
    """

    NAME = 'cuda'

    def __init__(self, bundle: Bundle, config: ModelConfig) -> None:
        super().__init__(bundle.shape.patch_values)
        self._bundle = bundle
        self._config = config

    def stats(self) -> BackendStats:
        """See Backend; what became of passes as CUDA graphs, and where the kernels came from."""
        session = self._session
        return BackendStats() if session is None else session.stats()

    def time_on_device(self, work: Callable[[], Result]) -> tuple[Result, float | None]:
        """See Backend."""
        found: list[Result] = []
        seconds = self._opened().device.time(lambda: found.append(work()))
        return found[0], seconds

    def _open(self) -> tuple[CudaSession, BackendDescription]:
        """BackendUnavailable without CUDA's bindings, a driver or a GPU that the kernels run on;
        BundleOutdated or BundleCorrupt; OutOfMemory.
        """
        try:
            from penguin_ros.backends.cuda.session import CudaSession
        except (ImportError, OSError) as error:
            raise without_bindings('backend cuda is not available', error) from error
        manifest = self._bundle.manifest
        length = min(self._config.max_length, manifest.max_length)
        session = CudaSession(self._bundle, self._config, length)
        return session, BackendDescription(
            name=self.NAME,
            device=session.gpu.name,
            precision=manifest.precision.linears,
            model_name=self._bundle.name,
            model_digest=self._bundle.digest,
            hidden_size=manifest.shape.llm.hidden_size,
            vocabulary_size=manifest.shape.vocabulary_size,
            max_length=length,
            slots=session.slots,
            slot_bytes=session.decoder.slots.shape.slot_bytes,
            feature_bytes_per_token=session.encoder.token_bytes,
            way=session.way,
            prefill_chunk=self._config.prefill_chunk or session.prefill_chunk,
            greedy_steps=session.decoder.greedy_steps,
        )

    def _encode_frame(
        self, session: CudaSession, frame: FramePatches
    ) -> Generator[None, None, DeviceFeatures]:
        return (yield from session.encoder.encode(frame, session.features))

    def _read(
        self, session: CudaSession, features: DeviceFeatures, stage: str
    ) -> NDArray[np.float32]:
        bits = session.encoder.read(features, stage)
        compute = self._bundle.manifest.precision.compute
        if compute == 'bfloat16':
            return widened('BF16', bits)
        return bits.view(compute).astype(np.float32)

    def _branch_limits(self, session: CudaSession) -> BranchLimits:
        return session.decoder.branch_limits

    def _append_branches(self, session: CudaSession, append: Append) -> Logits:
        return session.decoder.append(append, ())

    def _row_bytes(self, session: CudaSession) -> int:
        return session.encoder.row_bytes
